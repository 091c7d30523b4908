//! What a vendor's error at the end of the authorization page means, in plain words and clicks.

/// Why no access was given, and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Denied {
    /// Stable code.
    pub code: &'static str,
    /// What happened.
    pub what: String,
    /// What to click, in order.
    pub steps: Vec<String>,
}

/// Explains the `error` and `error_description` of a redirect back from a vendor.
pub(super) fn explain(vendor: &str, error: &str, description: &str) -> Denied {
    let says = |text: &str| description.to_ascii_lowercase().contains(text);
    let made = |code, what: String, steps: &[&str]| Denied { code, what, steps: steps.iter().map(|s| (*s).to_owned()).collect() };
    match error {
        // Since September 2025 Salesforce blocks connected apps that no admin has installed.
        _ if says("must be installed") || error == "OAUTH_APPROVAL_ERROR_GENERIC" => made(
            "app_not_installed",
            format!("{vendor} lets people use this app only after an administrator has installed it."),
            &[
                "Ask a Salesforce administrator of your organisation to open Setup.",
                "In Quick Find, enter “Connected Apps OAuth Usage” and open that page.",
                "Find this app in the list and choose Install, then confirm.",
                "If it is not in the list: Setup → Permission Sets → give your user “Approve Uninstalled Connected Apps”.",
                "Come back and press the button again.",
            ],
        ),
        "access_denied" => made(
            "access_denied",
            format!("You, or {vendor}, said no to the request. Nothing was connected and nothing was read."),
            &[
                "If you pressed Cancel or Deny by mistake: press the button again and choose Allow.",
                "If there was no Allow button: sign in as a user who may install apps (an administrator), then try again.",
            ],
        ),
        "invalid_scope" | "insufficient_scope" => made(
            "scope",
            format!("{vendor} does not offer one of the rights that were asked for, in this account."),
            &[
                "Sign in as an administrator and try again.",
                "If it stays: write to whoever sent you this link; the app's list of rights must be mended.",
            ],
        ),
        "redirect_uri_mismatch"
        | "invalid_client"
        | "invalid_client_id"
        | "unauthorized_client"
        | "invalid_request"
        | "unsupported_response_type" => made(
            "app_setup",
            format!("The app at {vendor} is not set up as it should be. That is not your doing."),
            &[
                "Write to whoever sent you this link and name the code app_setup: the app's client id and redirect address must be mended there.",
            ],
        ),
        "temporarily_unavailable" | "server_error" => {
            made("passing", format!("{vendor} has trouble at the moment."), &["Wait a few minutes, then press the button again."])
        }
        _ => made(
            "other",
            format!("{vendor} did not give access, and did not say why in a form that we know."),
            &["Press the button again.", "If it stays: write to whoever sent you this link."],
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when the commonest refusals leave a partner without the clicks that mend them.
    #[test]
    fn refusals_become_clicks() {
        let salesforce = explain("Salesforce", "invalid_client", "app must be installed into org");
        assert_eq!(salesforce.code, "app_not_installed");
        assert!(salesforce.steps.iter().any(|s| s.contains("Connected Apps OAuth Usage")));
        assert_eq!(explain("Salesforce", "OAUTH_APPROVAL_ERROR_GENERIC", "").code, "app_not_installed");
        assert_eq!(explain("HubSpot", "access_denied", "").code, "access_denied");
        assert_eq!(explain("HubSpot", "redirect_uri_mismatch", "").code, "app_setup");
    }

    // Breaks when text that anybody can put into an address reaches the page.
    #[test]
    fn the_vendors_text_is_never_repeated() {
        let shown = format!("{:?}", explain("HubSpot", "<b>bold</b>", "call +1 555 now"));
        assert!(!shown.contains("bold") && !shown.contains("555"), "{shown}");
    }
}
