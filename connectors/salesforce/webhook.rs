//! Outbound Messages: SOAP without a signature. The secret address vouches for the sender; what is
//! read here are only ids, and every record is read again by API.

use quick_xml::{Reader, events::Event};

use super::wire::moment;
use crate::sdk::{Hint, HintKind, Incoming, Millis, RawRequest, Refused, Reply, WebhookKey};

/// One acknowledgement covers all notifications; anything else makes Salesforce send all again for a day.
const ACK: &str = concat!(
    r#"<?xml version="1.0" encoding="UTF-8"?>"#,
    r#"<soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/"><soapenv:Body>"#,
    r#"<notificationsResponse xmlns="http://soap.sforce.com/2005/09/outbound"><Ack>true</Ack></notificationsResponse>"#,
    r"</soapenv:Body></soapenv:Envelope>"
);
/// Most notifications in one message, as documented.
const MOST: usize = 100;
/// Deepest nesting that the documented form has is seven.
const DEEPEST: usize = 16;
/// The values of our interest are ids and moments.
const LONGEST: usize = 64;

/// Reads an outbound message that arrived at an address of one of these keys.
///
/// # Errors
/// `Unreadable` for anything that is not the documented form (a document type or an entity of its own
/// included), `WrongAccount` for another organisation than the keys'.
pub fn read(raw: &RawRequest, keys: &[WebhookKey]) -> Result<Incoming, Refused> {
    let body = std::str::from_utf8(&raw.body).map_err(|_| Refused::Unreadable)?;
    let message = parse(body)?;
    let organisation = id18(&message.organisation).ok_or(Refused::Unreadable)?;
    let ours = |key: &WebhookKey| key.account.as_deref().is_none_or(|account| id18(account).as_ref() == Some(&organisation));
    if !keys.iter().any(ours) {
        return Err(Refused::WrongAccount);
    }
    let hint = |seen: Seen| {
        let id = id18(&seen.id).filter(|_| !seen.object.is_empty()).ok_or(Refused::Unreadable)?;
        Ok(Hint { account: Some(organisation.clone()), object: seen.object, id, kind: HintKind::Changed, occurred_at: seen.at })
    };
    let hints = message.seen.into_iter().map(hint).collect::<Result<_, _>>()?;
    Ok(Incoming { hints, reply: Reply { status: 200, content_type: "text/xml; charset=utf-8", body: ACK.into() } })
}

/// What a message says.
#[derive(Default)]
struct Message {
    organisation: String,
    seen: Vec<Seen>,
}

#[derive(Default)]
struct Seen {
    object: String,
    id: String,
    at: Option<Millis>,
}

fn parse(body: &str) -> Result<Message, Refused> {
    let mut reader = Reader::from_str(body);
    let mut message = Message::default();
    let mut path: Vec<String> = Vec::new();
    let mut text = String::new();
    loop {
        match reader.read_event().map_err(|_| Refused::Unreadable)? {
            Event::Start(start) => {
                path.push(start.local_name().as_ref().to_owned());
                text.clear();
                if path.len() > DEEPEST {
                    return Err(Refused::Unreadable);
                }
                if is_object(&path) {
                    if message.seen.len() == MOST {
                        return Err(Refused::Unreadable);
                    }
                    message.seen.push(Seen { object: object_type(&start)?, ..Seen::default() });
                }
            }
            Event::Text(part) => {
                if text.len() < LONGEST {
                    text.push_str(&part.xml10_content());
                }
            }
            Event::End(_) => {
                close(&mut message, &path, text.trim());
                path.pop();
                text.clear();
            }
            // A document type could define entities: the documented form has neither.
            Event::DocType(_) => return Err(Refused::Unreadable),
            Event::GeneralRef(name) => {
                if !name.is_char_ref() && !matches!(&*name, "amp" | "lt" | "gt" | "apos" | "quot") {
                    return Err(Refused::Unreadable);
                }
            }
            Event::Eof => break,
            Event::Empty(_) | Event::CData(_) | Event::Comment(_) | Event::Decl(_) | Event::PI(_) => {}
        }
    }
    if !path.is_empty() || message.seen.is_empty() {
        return Err(Refused::Unreadable);
    }
    Ok(message)
}

const NOTIFICATIONS: [&str; 3] = ["Envelope", "Body", "notifications"];

fn under_notifications(path: &[String]) -> Option<Vec<&str>> {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    path.strip_prefix(&NOTIFICATIONS[..]).map(<[&str]>::to_vec)
}

fn is_object(path: &[String]) -> bool {
    under_notifications(path).as_deref() == Some(&["Notification", "sObject"])
}

fn close(message: &mut Message, path: &[String], text: &str) {
    match (under_notifications(path).as_deref(), message.seen.last_mut()) {
        (Some(["OrganizationId"]), _) => text.clone_into(&mut message.organisation),
        (Some(["Notification", "sObject", "Id"]), Some(seen)) => text.clone_into(&mut seen.id),
        (Some(["Notification", "sObject", "SystemModstamp" | "LastModifiedDate"]), Some(seen)) => seen.at = moment(text),
        _ => {}
    }
}

/// The type after its prefix: `xsi:type="sf:Lead"`.
fn object_type(start: &quick_xml::events::BytesStart<'_>) -> Result<String, Refused> {
    for attribute in start.attributes() {
        let attribute = attribute.map_err(|_| Refused::Unreadable)?;
        if attribute.key.local_name().as_ref() == "type" {
            let value: &str = &attribute.value;
            let name = value.rsplit(':').next().unwrap_or_default();
            return super::soql::name(name).map(str::to_owned).map_err(|_| Refused::Unreadable);
        }
    }
    Err(Refused::Unreadable)
}

/// An id with its check part: three characters that state which of each five before are upper case.
pub fn id18(id: &str) -> Option<String> {
    const CHECK: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ012345";
    if !super::soql::is_id(id) {
        return None;
    }
    let bare = id.get(..15)?;
    let check = bare.as_bytes().chunks(5).map(|five| {
        let bits = five.iter().enumerate().fold(0, |bits, (place, c)| bits | (usize::from(c.is_ascii_uppercase()) << place));
        char::from(CHECK[bits])
    });
    Some(bare.chars().chain(check).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sdk::Method;

    const ORG: &str = "00D5g000004XyzAEAS";

    fn key(account: Option<&str>) -> WebhookKey {
        WebhookKey { id: "k".into(), secret: Vec::new(), account: account.map(str::to_owned) }
    }

    fn raw(body: &str) -> RawRequest {
        RawRequest { method: Method::Post, url: "https://hooks.example/s".into(), headers: Vec::new(), body: body.as_bytes().to_vec() }
    }

    fn message(organisation: &str, count: usize) -> String {
        let one = |n: usize| {
            format!(
                r#"<Notification><Id>04l5g00000{n:05}AAA</Id><sObject xsi:type="sf:Lead" xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>00Q5g00000{n:05}</sf:Id><sf:Company>A &amp; B</sf:Company><sf:SystemModstamp>2026-05-06T11:29:24.000Z</sf:SystemModstamp></sObject></Notification>"#
            )
        };
        let all: String = (0..count).map(one).collect();
        format!(
            r#"<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>{organisation}</OrganizationId><ActionId>04k</ActionId><SessionId xsi:nil="true"/>{all}</notifications></soapenv:Body></soapenv:Envelope>"#
        )
    }

    // Breaks when a full message loses notifications, or is answered with anything but the documented Ack.
    #[test]
    fn a_full_message_is_read_and_acknowledged() {
        let incoming = read(&raw(&message(ORG, 100)), &[key(Some("00D000000000000")), key(id18(ORG).as_deref())]).unwrap();
        assert_eq!(incoming.hints.len(), 100);
        assert_eq!(incoming.hints[7].id, id18("00Q5g0000000007").unwrap());
        assert_eq!(incoming.hints[7].object, "Lead");
        assert_eq!(incoming.hints[7].occurred_at, Some(1_778_066_964_000));
        assert!(incoming.reply.body.contains("<Ack>true</Ack>") && incoming.reply.content_type.starts_with("text/xml"));
    }

    // Breaks when a message from another organisation is taken as this connection's.
    #[test]
    fn another_organisation_is_refused() {
        assert_eq!(read(&raw(&message(ORG, 1)), &[key(Some("00D000000000000"))]), Err(Refused::WrongAccount));
        assert_eq!(read(&raw(&message(ORG, 1)), &[]), Err(Refused::WrongAccount));
        assert!(read(&raw(&message(&ORG[..15], 1)), &[key(id18(ORG).as_deref())]).is_ok(), "15 and 18 characters name one organisation");
    }

    // Breaks when an XML bomb, or a message that is not the documented form, gets through.
    #[test]
    fn hostile_documents_are_refused() {
        let good = message(ORG, 1);
        let bomb = good.replace("<soapenv:Envelope", "<!DOCTYPE x [<!ENTITY a \"b\">]><soapenv:Envelope");
        let entity = good.replace("&amp;", "&a;");
        let deep = format!("{}{}", "<a>".repeat(100_000), "</a>".repeat(100_000));
        let cut = &good[..good.len() - 20];
        for bad in [bomb.as_str(), &entity, &deep, cut, "", "{}", &message(ORG, 101), &message(ORG, 0), &good.replace("00Q5g", "x' OR")] {
            assert_eq!(read(&raw(bad), &[key(None)]), Err(Refused::Unreadable), "{}", &bad[..bad.len().min(80)]);
        }
    }

    // Breaks when the check part is computed wrongly: ids would then never compare equal.
    #[test]
    fn ids_get_their_check_part() {
        assert_eq!(id18("001000000000000").as_deref(), Some("001000000000000AAA"));
        assert_eq!(id18("012000000000000AAA").as_deref(), Some("012000000000000AAA"));
        assert_eq!(id18("AbCdEfGhIjKlMnO").as_deref(), Some("AbCdEfGhIjKlMnOVKV"));
    }
}
