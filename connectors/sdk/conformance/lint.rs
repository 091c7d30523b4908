//! The manifest's facts must make sense by themselves and beside each other.

use std::collections::BTreeSet;

use super::bench::Setup;
use super::{Case, Verdict, ensure, fail};
use crate::sdk::manifest::{Auth, Manifest, Oauth2, WriteSafety};
use crate::sdk::{Action, Response};

const MINUTE: i64 = 60_000;
const DAY: i64 = 86_400_000;

fn names(setup: &Setup) -> Verdict {
    let manifest = setup.manifest();
    ensure(manifest.name == setup.name, || format!("the manifest is called `{}`, the registry says `{}`", manifest.name, setup.name))?;
    ensure(!manifest.title.trim().is_empty(), || "the title for people is empty".into())?;
    ensure(!manifest.api_version.trim().is_empty(), || "the API version is empty".into())?;
    ensure(!manifest.objects.is_empty(), || "no object holds leads".into())?;
    ensure(manifest.objects.iter().any(|object| object == setup.sample.object), || {
        format!("the sample's object `{}` is not in the manifest", setup.sample.object)
    })
}

fn addresses(setup: &Setup) -> Verdict {
    let manifest = setup.manifest();
    for suffix in &manifest.host_suffixes {
        let plain =
            suffix.contains('.') && !suffix.starts_with('.') && suffix.chars().all(|c| c.is_ascii_alphanumeric() || ".-".contains(c));
        ensure(plain, || format!("`{suffix}` is not a plain host suffix such as `vendor.com`"))?;
    }
    if let Some(base) = &manifest.base_url {
        listed(manifest, "base_url", base)?;
        ensure(!base.ends_with('/'), || "base_url ends with a slash; paths begin with one".into())?;
    }
    match &manifest.auth {
        Auth::Oauth2(oauth) => {
            ensure(!manifest.host_suffixes.is_empty(), || "OAuth without host_suffixes: any host could be given a token".into())?;
            listed(manifest, "authorize_url", &oauth.authorize_url)?;
            listed(manifest, "token_url", &oauth.token_url)?;
            oauth.revoke_url.as_ref().map_or(Ok(()), |revoke| listed(manifest, "revoke_url", revoke))
        }
        Auth::Key { scheme, how } => {
            ensure(!scheme.is_empty() && !scheme.contains(' '), || "the key's scheme must be one word".into())?;
            ensure(how.len() > 20, || "`how` must say where an admin makes the key, click by click".into())
        }
    }
}

/// A path is joined to the account's base URL, which is checked when it becomes known.
fn listed(manifest: &Manifest, what: &str, url: &str) -> Verdict {
    if what != "base_url" && url.starts_with('/') {
        return Ok(());
    }
    let filled = url.replace("{version}", &manifest.api_version);
    let Ok(parsed) = url::Url::parse(&filled) else { return fail(format!("{what} is no URL: {url}")) };
    ensure(parsed.scheme() == "https", || format!("{what} is not https: {url}"))?;
    let host = parsed.host_str().unwrap_or_default();
    let fits = manifest.host_suffixes.iter().any(|suffix| host == suffix || host.ends_with(&format!(".{suffix}")));
    ensure(fits, || format!("{what} has the host {host}, which is not below any of host_suffixes"))
}

fn scopes(setup: &Setup) -> Verdict {
    let Auth::Oauth2(oauth) = &setup.manifest().auth else {
        return super::not_applicable("the manifest has [auth] kind = \"key\": there are no scopes");
    };
    let Oauth2 { scopes, optional_scopes, field_scopes, assumed_lifetime_ms, keep_alive_ms, .. } = oauth;
    ensure(!scopes.is_empty(), || "no scopes: the connection would be of no use".into())?;
    let all: Vec<&String> = scopes.iter().chain(optional_scopes).chain(field_scopes.values().flatten()).collect();
    let unique: BTreeSet<&String> = all.iter().copied().collect();
    ensure(unique.len() == all.len(), || "a scope is listed twice".into())?;
    ensure(unique.iter().all(|scope| !scope.is_empty() && !scope.contains(char::is_whitespace)), || {
        "a scope is empty or has a space".into()
    })?;
    ensure(assumed_lifetime_ms.is_none_or(|ms| ms >= MINUTE), || "assumed_lifetime_ms is below a minute: every call would refresh".into())?;
    ensure(keep_alive_ms.is_none_or(|ms| ms >= 60 * MINUTE), || "keep_alive_ms is below an hour".into())
}

fn budgets(setup: &Setup) -> Verdict {
    let manifest = setup.manifest();
    ensure(!manifest.budgets.is_empty(), || "no budget: nothing would hold us back".into())?;
    let mut seen = BTreeSet::new();
    for budget in &manifest.budgets {
        ensure(seen.insert(&budget.name), || format!("the budget `{}` is there twice", budget.name))?;
        ensure(budget.limit > 0, || format!("the budget `{}` allows nothing", budget.name))?;
        ensure((1..=31 * DAY).contains(&budget.window_ms), || format!("the window of `{}` is not between 1 ms and a month", budget.name))?;
        for header in [&budget.limit_header, &budget.remaining_header, &budget.usage_header].into_iter().flatten() {
            ensure(*header == header.to_ascii_lowercase(), || {
                format!("the header `{header}` must be in lower case: answers have them so")
            })?;
        }
    }
    Ok(())
}

fn responses(setup: &Setup) -> Verdict {
    let manifest = setup.manifest();
    for rule in &manifest.responses {
        let named = || format!("the rule for {:?} containing {:?}", rule.status, rule.contains);
        ensure(!rule.status.is_empty() && rule.status.iter().all(|status| (200..600).contains(status)), || {
            format!("{}: no such status", named())
        })?;
        ensure(rule.contains.as_ref().is_none_or(|text| !text.is_empty()), || format!("{}: an empty text is in every body", named()))?;
        ensure(rule.action == Action::Wait || (rule.wait_ms.is_none() && rule.budget.is_none()), || {
            format!("{}: only `wait` waits", named())
        })?;
        ensure(rule.wait_ms.is_none_or(|ms| (1..=DAY).contains(&ms)), || format!("{}: wait_ms is not between 1 ms and a day", named()))?;
        let known = |name: &String| manifest.budgets.iter().any(|budget| budget.name == *name);
        ensure(rule.budget.as_ref().is_none_or(known), || format!("{}: no such budget", named()))?;
    }
    for (at, rule) in manifest.responses.iter().enumerate() {
        let hides = |later: &&crate::sdk::manifest::ResponseRule| {
            rule.contains.is_none() && later.status.iter().all(|status| rule.status.contains(status))
        };
        if let Some(hidden) = manifest.responses[at + 1..].iter().find(hides) {
            return fail(format!(
                "the rule for {:?} containing {:?} comes after one that takes all such answers",
                hidden.status, hidden.contains
            ));
        }
    }
    for status in [200, 201, 204] {
        let heard = manifest.classify(&Response::empty(status)).action == Action::Hear;
        ensure(heard, || format!("an empty {status} must be heard"))?;
    }
    // A vendor may say by a 500 that it rolled back; the others come from what stands before it.
    for (status, heard) in [(500, true), (502, false), (503, false), (504, false)] {
        let action = manifest.classify(&Response::empty(status)).action;
        let fits = matches!(action, Action::Retry | Action::Wait) || heard && action == Action::Hear;
        ensure(fits, || format!("an empty {status} is passing trouble, not {action:?}"))?;
    }
    Ok(())
}

fn guarantees(setup: &Setup) -> Verdict {
    let Manifest { poll, read, write, webhook, .. } = setup.manifest();
    ensure(poll.overlap_ms >= MINUTE, || "poll.overlap_ms is below a minute: rows that commit late would be lost".into())?;
    ensure((0..=60 * MINUTE).contains(&poll.lag_ms), || "poll.lag_ms is not between 0 and an hour".into())?;
    ensure((1_000..=DAY).contains(&poll.every_ms), || "poll.every_ms is not between a second and a day".into())?;
    ensure(read.batch > 0 && write.batch > 0, || "a batch of nothing".into())?;
    ensure(!write.marker_field.is_empty(), || "no marker field".into())?;
    ensure((30_000..=60 * MINUTE).contains(&write.settle_after_ms), || "write.settle_after_ms is not between 30 s and an hour".into())?;
    ensure(write.settle_after_ms >= poll.lag_ms, || {
        "write.settle_after_ms is shorter than poll.lag_ms: a write could still be on its way".into()
    })?;
    ensure(write.safety != WriteSafety::None, || "write.safety = none is not supported by any delivery".into())?;
    if let Some(webhook) = webhook {
        ensure(webhook.signed || webhook.max_age_ms.is_none(), || {
            "webhook.max_age_ms without a signature: the time could be forged".into()
        })?;
        ensure(webhook.max_age_ms.is_none_or(|ms| (MINUTE..=15 * MINUTE).contains(&ms)), || {
            "webhook.max_age_ms is not between one and fifteen minutes".into()
        })?;
        ensure(webhook.signed || !webhook.app_level, || {
            "unsigned webhooks to one address for all accounts: anybody could send them".into()
        })?;
    }
    Ok(())
}

pub(super) const CASES: &[Case] = &[
    ("manifest: names", names),
    ("manifest: addresses", addresses),
    ("manifest: scopes", scopes),
    ("manifest: budgets", budgets),
    ("manifest: answers", responses),
    ("manifest: guarantees", guarantees),
];
