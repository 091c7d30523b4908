//! The worked example: Northwind gives leads to Brightwater.

use crate::program::{FileKind, Program, ProgramFile, compile, parse_file, terms_hash};

/// The vendor.
pub const NORTHWIND: &str = r#"
legal_name = "Northwind Cloud B.V."
kind = "vendor"
country = "NL"
domains = ["northwind.example"]
contacts = { business = "partners@northwind.example", privacy = "privacy@northwind.example" }
calendar = { zone = "Europe/Amsterdam" }
languages = ["nl", "en", "de"]
signers = ["A. de Wit, COO"]
"#;

/// The services partner.
pub const BRIGHTWATER: &str = r#"
legal_name = "Brightwater Services Inc."
kind = "services"
country = "US"
domains = ["brightwater.example"]
contacts = { business = "hello@brightwater.example", privacy = "privacy@brightwater.example" }
calendar = { zone = "America/New_York", holidays = [2026-07-03] }
languages = ["en", "de"]
tier = "gold"
certificates = [{ name = "Northwind Setup", expires = 2027-06-30 }]
specialisations = ["setup_help"]
signers = ["R. Okafor, CEO"]
"#;

/// What people are shown.
pub const NOTICE: &str = r#"
controller = "Northwind Cloud B.V."
text = """
I want set-up help. Northwind Cloud B.V. may give my details to Brightwater Services Inc., which may write to me or
ring me about set-up help for Northwind Cloud."""
language = "en"
recipients = ["Brightwater Services Inc."]
purposes = ["introduce", "contact"]
channels = ["email", "phone"]
shown = { from = 2026-04-01, zone = "Europe/Amsterdam" }
"#;

/// The agreement, not signed yet.
pub const AGREEMENT: &str = r#"
about = { id = "northwind-brightwater", version = 3, business = "partners@northwind.example", privacy = "privacy@northwind.example" }
[parties]
source = { partner = "northwind", legal_name = "Northwind Cloud B.V.", role = "controller" }
recipient = { partner = "brightwater", legal_name = "Brightwater Services Inc.", role = "controller" }
operator = { partner = "northwind", role = "controller" }
mishandled = { report_within = "24h", then = "pause", cure = "10bd" }
[qualification]
required = ["email", "company", "country", "need", "timeframe"]
all = { country = { in = ["DE", "AT", "NL", "US"] }, employees = { at_least = 50 }, need = { in = ["setup_help"] } }
none = { email_kind = { in = ["free", "disposable"] }, company_domain = { list = "competitors" }, open_deal_at_source = { is = true } }
fresh = { within = "14d", since = "own_last_action" }
[privacy]
refuse = ["minor", "health", "special_category", "free_text", "place_unknown"]
notices = ["webform-2026-04"]
transfer = { from = "EEA", to = "US", tool = "scc_module_1", assessed = 2026-03-02, review_by = 2027-03-02 }
keep = { not_shared = "30d", not_accepted = "7d", lead = "24m", proof = "6y" }
withdrawal = { stop = "at_once", recipient_within = "72h" }
erasure = { recipient_within = "10d", if_own_customer = "tell_and_attest" }
recipient_notice = { text = "messages/brightwater-art14.md", by = "first_contact", latest = "28d" }
back_to_source = ["share_status", "progress", "reason_code", "amount"]
onward = "never"
[[privacy.purpose]]
id = "introduce"
text = "Name to Brightwater the people who asked for set-up help with Northwind Cloud, so that it can offer them that help."
basis = { EEA = "consent", US = "person_directed" }
fields = ["first_name", "last_name", "email", "phone", "role", "company", "country", "industry", "employees", "need", "timeframe"]
[[privacy.purpose]]
id = "contact"
text = "Brightwater writes to or rings these people about set-up help for Northwind Cloud, and about nothing else."
basis = { EEA = { email = "double_opt_in", phone = "consent" }, US = { email = "not_opted_out", phone = "seller_named_written" } }
[confidentiality]
before_acceptance = ["country", "industry", "employees_band", "need", "timeframe"]
survives = "3y"
[term]
runs = { from = 2026-04-01, until = 2027-03-31, zone = "Europe/Amsterdam" }
renewal = { by = "12m", times = 2, notice = "60d", recheck = ["transfer", "certificates"] }
terminate = { for_cause_after_cure = "10bd", convenience = "90d" }
on_end = { offered = "recall", accepted = "finish", finish_within = "90d", delete_rest_within = "30d", attest = true }
[commission]
on = { payer = "recipient", event = "won", base = "first_year_net", deals = "first", within = "12m", of = "accepted", after_end = "12m" }
rate = [{ up_to = "50000.00", percent = "10" }, { above = "50000.00", percent = "7" }]
limits = { currency = "EUR", fx = "ecb_event_day", cap_per_lead = "15000.00", hold = "45d" }
clawback = { within = "90d", on = ["cancelled", "refunded"] }
statement = { every = "month", object_within = "10bd", silence = "agreed", pay_within = "30d" }
[disputes]
raise = { within = "30d", reasons = ["ownership", "not_qualified", "amount", "conduct"], freezes = "line" }
ownership = { rule = "first_accepted", protected = "90d" }
returns = { within = "10bd", at_most = "15%", then = "next_candidate" }
steps = [{ by = "partner_managers", within = "10bd" }, { by = "mediation", within = "30d" }, { by = "arbitration", seat = "Rotterdam" }]
[metrics]
targets = { acceptance = "70%", first_contact_in_time = "90%", status_fresh = "95%", complaints_max = "1%" }
judge = { over = "90d", at_least_leads = 20, first = "warn", after = "30d", then = "pause_new", resume_by = "source" }
report = { every = "month", to = ["source", "recipient"], audit = "12m" }
[exclusivity]
source_gives = { territory = ["DE-BY"], segment = ["manufacturing"], release_if_unanswered = "2bd" }
recipient_gives = { rivals = "list:rivals-of-northwind" }
kept_for_direct_sales = "list:named-accounts"
[operations]
transfer = { by = "source", mode = "offer", order = "in_turn", answer_within = "1bd", recipients = 1, approve_if = { employees = { at_least = 1000 } } }
delivery = { by = "recipient", methods = ["crm", "portal", "email"], assign_to = "queue:Partner leads" }
sla = { by = "source", acknowledge = "4bh", first_contact = "1bd", status_every = "5bd", at_75 = "remind", at_100 = "escalate", at_150 = "recall_and_reoffer" }
touches = { by = "source", at_least = { email = 1, phone = 1 }, within = "5bd", at_most_per_week = 4, first_right = "5bd" }
capacity = { by = "recipient", open = 25, day = 5, month = 60, weight = 2 }
messaging = { by = "source", introduction = "messages/intro.de.md", positioning = "messages/say.md", disclaimer = "messages/disclaimer.md" }
"#;

/// Parses one file that must be right.
pub fn file(kind: FileKind, name: &str, text: &str) -> ProgramFile {
    let path = format!("{}/{name}.{}", kind.folder(), kind.ending());
    parse_file(kind, name, &path, text).unwrap_or_else(|errors| {
        panic!("{}", errors.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    })
}

/// Adds both signatures over the current terms.
pub fn sign(text: &str) -> String {
    sign_as(text, "A. de Wit, COO", "R. Okafor, CEO", "2026-03-21T15:40:00Z")
}

/// Adds signatures by these people at this time.
pub fn sign_as(text: &str, source: &str, recipient: &str, at: &str) -> String {
    let terms = terms_hash(text).expect("an agreement");
    format!(
        "{text}\n[signing]\nsigned = [{{ party = \"source\", by = \"{source}\", at = {at}, terms = \"{terms}\" }}, {{ party = \"recipient\", by = \"{recipient}\", at = {at}, terms = \"{terms}\" }}]\n"
    )
}

/// Everything but agreements.
pub fn surroundings() -> Vec<ProgramFile> {
    let mut files = vec![
        file(FileKind::Partner, "northwind", NORTHWIND),
        file(FileKind::Partner, "brightwater", BRIGHTWATER),
        file(FileKind::Notice, "webform-2026-04", NOTICE),
        file(FileKind::List, "competitors", "domain,parent,company\nrival.example,bigrival.example,Rival Ltd\n"),
        file(FileKind::List, "named-accounts", "domain,company\nacme.example,Acme\n"),
        file(FileKind::List, "rivals-of-northwind", "domain\nsouthwind.example\n"),
    ];
    for name in ["brightwater-art14", "intro.de", "say", "disclaimer"] {
        files.push(file(FileKind::Message, name, "Approved words.\n"));
    }
    files
}

/// The signed example, whole, without a single remark.
pub fn program() -> Program {
    with(&[("northwind-brightwater", &sign(AGREEMENT))])
}

/// The surroundings with these agreements; fails on any error or warning.
pub fn with(agreements: &[(&str, &str)]) -> Program {
    let mut files = surroundings();
    files.extend(agreements.iter().map(|(name, text)| file(FileKind::Agreement, name, text)));
    let warnings: Vec<_> = files.iter().flat_map(|f| f.warnings.clone()).collect();
    let (program, mut found) = compile(files);
    found.extend(warnings);
    assert!(found.is_empty(), "{}", found.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n"));
    program
}
