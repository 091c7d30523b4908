//! What a request is, seen from outside: whether it writes, and which scope it needs.

use super::schema::Kind;
use crate::sdk::{Method, SandboxRequest};

/// Whether a request changes anything.
pub(super) fn is_write(request: &SandboxRequest) -> bool {
    let path = request.path_only();
    request.method != Method::Get && !path.ends_with("/search") && !path.ends_with("/batch/read")
}

/// The scope that a request needs.
pub(super) fn needed_scope(request: &SandboxRequest) -> Option<String> {
    let path = request.path_only();
    let parts: Vec<&str> = path.split('/').skip(1).collect();
    let access = if is_write(request) { "write" } else { "read" };
    let (area, rest) = match parts.as_slice() {
        ["crm", version, area, rest @ ..] if version.starts_with('v') => (*area, rest),
        ["crm", area, _, rest @ ..] | [area, _, rest @ ..] => (*area, rest),
        _ => return None,
    };
    let kind = rest.first().and_then(|text| Kind::parse(text));
    match area {
        "objects" | "associations" => Some(format!("crm.objects.{}.{access}", kind?.plural())),
        "properties" => Some(format!("crm.schemas.{}.{access}", kind?.plural())),
        "pipelines" => Some(format!("crm.schemas.{}.read", kind?.plural())),
        "owners" => Some("crm.objects.owners.read".into()),
        "communication-preferences" if rest.get(1) == Some(&"batch") => Some(format!("communication_preferences.statuses.batch.{access}")),
        "communication-preferences" => Some(format!("communication_preferences.{access}")),
        "account-info" => Some("oauth".into()),
        _ => None,
    }
}

pub(super) fn status_category(status: u16) -> &'static str {
    match status {
        423 => "LOCKED",
        477 => "MIGRATION_IN_PROGRESS",
        500.. => "INTERNAL_ERROR",
        _ => "ERROR",
    }
}
