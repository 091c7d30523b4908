//! metrics: not written yet.
/// A request to a vendor was answered, or not.
pub fn vendor_request(connector: &'static str, class: &'static str) {
    let _ = (connector, class);
}
/// A token was refreshed, or not.
pub fn token_refresh(connector: &'static str, result: &'static str) {
    let _ = (connector, result);
}
/// A webhook's hint was raised or dropped, or the webhook refused.
pub fn webhook(connector: &'static str, result: &'static str) {
    let _ = (connector, result);
}
/// A change ended.
pub fn change(connector: &'static str, outcome: crate::model::ChangeOutcome) {
    let _ = (connector, outcome);
}
