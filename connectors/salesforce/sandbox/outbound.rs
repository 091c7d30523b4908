//! Outbound messages: one action per object, up to 100 notifications in a message, sent again until
//! `Ack` is true or a day has passed. A message carries the data of the moment at which it is sent.

use std::{
    collections::{BTreeMap, VecDeque},
    fmt::Write as _,
};

use super::{
    row::moment_text,
    store::{Shown, Store},
};
use crate::sdk::{Millis, OutgoingWebhook, Response};

/// Most notifications in one message.
const MOST: usize = 100;
const SECOND: Millis = 1_000;
/// Longest pause between two tries.
const LONGEST_PAUSE: Millis = 2 * 3_600 * SECOND;
/// After this a message is dropped.
const LIFE: Millis = 24 * 3_600 * SECOND;

#[derive(Debug, Clone)]
struct Notification {
    id: String,
    record: String,
}

#[derive(Debug, Clone)]
struct Message {
    object: &'static str,
    notifications: Vec<Notification>,
    first: Millis,
    due: Millis,
    tries: u32,
    on_its_way: bool,
}

/// The queue of messages.
#[derive(Debug, Clone)]
pub struct Outbound {
    /// Objects that have an action, with the fields that it sends besides the id.
    pub actions: Vec<(&'static str, Vec<&'static str>)>,
    waiting: BTreeMap<&'static str, VecDeque<Notification>>,
    messages: BTreeMap<u64, Message>,
    made: u64,
}

impl Default for Outbound {
    fn default() -> Self {
        let actions = vec![("Lead", vec!["Status", "SystemModstamp"])];
        Self { actions, waiting: BTreeMap::new(), messages: BTreeMap::new(), made: 0 }
    }
}

impl Outbound {
    /// Takes note of rows that changed.
    pub fn note(&mut self, shown: Vec<Shown>, store: &mut Store) {
        for row in shown {
            let live = store.table(row.object).and_then(|table| table.seen(&row.id)).is_some_and(|seen| !seen.deleted);
            if live && self.actions.iter().any(|(object, _)| *object == row.object) {
                let id = store.new_id("04l");
                self.waiting.entry(row.object).or_default().push_back(Notification { id, record: row.id });
            }
        }
    }

    /// Messages whose time has come.
    pub fn due(&mut self, url: &str, store: &Store, now: Millis) -> Vec<OutgoingWebhook> {
        for (object, waiting) in &mut self.waiting {
            while !waiting.is_empty() {
                let notifications: Vec<_> = waiting.drain(..waiting.len().min(MOST)).collect();
                self.made += 1;
                let message = Message { object, notifications, first: now, due: now, tries: 0, on_its_way: false };
                self.messages.insert(self.made, message);
            }
        }
        self.messages.retain(|_, message| now - message.first <= LIFE);
        let mut out = Vec::new();
        for (delivery, message) in self.messages.iter_mut().filter(|(_, m)| !m.on_its_way && m.due <= now) {
            message.on_its_way = true;
            let fields = self.actions.iter().find(|(object, _)| *object == message.object).map_or(&[][..], |(_, fields)| fields);
            let headers = [("content-type", "text/xml; charset=utf-8"), ("soapaction", "\"\""), ("user-agent", "SFDC-Callout")];
            out.push(OutgoingWebhook {
                delivery: *delivery,
                url: url.to_owned(),
                headers: headers.map(|(k, v)| (k.to_owned(), v.to_owned())).into(),
                body: envelope(store, message, fields).into_bytes(),
            });
        }
        out
    }

    /// What was answered. Only an Ack of true ends a message.
    pub fn answered(&mut self, delivery: u64, answer: Option<&Response>, now: Millis) {
        let taken = answer.is_some_and(|r| r.status == 200 && acknowledged(&String::from_utf8_lossy(&r.body)));
        if taken {
            self.messages.remove(&delivery);
        } else if let Some(message) = self.messages.get_mut(&delivery) {
            message.on_its_way = false;
            let pause = (30 * SECOND).saturating_mul(1_i64.checked_shl(message.tries.min(20)).unwrap_or(1));
            message.tries += 1;
            message.due = now + pause.min(LONGEST_PAUSE);
        }
    }
}

/// Whether the body has an `Ack` element that says true, under any prefix.
fn acknowledged(body: &str) -> bool {
    let Some((before, rest)) = body.split_once("Ack>") else { return false };
    before.ends_with(['<', ':']) && rest.trim_start().starts_with("true")
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;").replace('\'', "&apos;")
}

fn envelope(store: &Store, message: &Message, fields: &[&str]) -> String {
    let organisation = &store.organisation;
    let host = "https://leadshare-dev-ed.my.salesforce.com/services/Soap";
    let mut out = format!(
        r#"<?xml version="1.0" encoding="UTF-8"?><soapenv:Envelope xmlns:soapenv="http://schemas.xmlsoap.org/soap/envelope/" xmlns:xsd="http://www.w3.org/2001/XMLSchema" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance"><soapenv:Body><notifications xmlns="http://soap.sforce.com/2005/09/outbound"><OrganizationId>{organisation}</OrganizationId><ActionId>04k5g0000000001AAA</ActionId><SessionId xsi:nil="true"/><EnterpriseUrl>{host}/c/66.0/{organisation}</EnterpriseUrl><PartnerUrl>{host}/u/66.0/{organisation}</PartnerUrl>"#
    );
    let table = store.table(message.object);
    for notification in &message.notifications {
        let _ = write!(
            out,
            r#"<Notification><Id>{}</Id><sObject xsi:type="sf:{}" xmlns:sf="urn:sobject.enterprise.soap.sforce.com"><sf:Id>{}</sf:Id>"#,
            notification.id, message.object, notification.record
        );
        if let Some((table, row)) = table.and_then(|table| Some((table, table.seen(&notification.record)?))) {
            for name in fields {
                // Empty fields are left out.
                if let serde_json::Value::String(text) = super::row::value(row, &table.object, name) {
                    let text = if *name == "SystemModstamp" { moment_text(row.modified).replace("+0000", "Z") } else { escaped(&text) };
                    let _ = write!(out, "<sf:{name}>{text}</sf:{name}>");
                }
            }
        }
        out.push_str("</sObject></Notification>");
    }
    out.push_str("</notifications></soapenv:Body></soapenv:Envelope>");
    out
}
