//! A visitor in a browser, as far as connecting needs one: follows redirects, keeps cookies, presses
//! the button of a form.

use std::collections::BTreeMap;

use leadshare_connectors::sdk::{Method, Request, Response};

use crate::errors::{Error, Result};
use crate::http::Transport;
use crate::http::egress::Egress;

const TIMEOUT: i64 = 20_000;
/// More steps than any vendor's connect needs.
const STEPS: usize = 12;

/// Opens a connect link, presses every button on the way, and answers the last page.
///
/// # Errors
/// When a page does not answer, or no page without a form is reached.
pub async fn connect(link: &str) -> Result<String> {
    let egress = Egress::allowing("127.0.0.0/8".parse().into_iter().collect());
    let transport = Transport::default();
    let mut jar: BTreeMap<String, String> = BTreeMap::new();
    let mut url = parse(link)?;
    let mut next = (Method::Get, String::new());
    for _ in 0..STEPS {
        let mut request = Request::new(next.0, url.to_string());
        if next.0 == Method::Post {
            request =
                request.header("content-type", "application/x-www-form-urlencoded").header("origin", url.origin().ascii_serialization());
            request.body = next.1.clone().into_bytes();
        }
        let cookies: Vec<String> = jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        if !cookies.is_empty() {
            request = request.header("cookie", cookies.join("; "));
        }
        let answer = transport.send(&egress, &url, &request, None, TIMEOUT).await;
        let answer = answer.map_err(|_| Error::System(format!("no answer from {}", url.origin().ascii_serialization())))?;
        keep_cookies(&mut jar, &answer);
        if let Some(to) = answer.header("location").filter(|_| (300..400).contains(&answer.status)) {
            url = url.join(to).map_err(|_| Error::System("a redirect leads nowhere".into()))?;
            next = (Method::Get, String::new());
            continue;
        }
        let page = String::from_utf8_lossy(&answer.body).into_owned();
        if !answer.is_success() {
            let said: String = page
                .split('<')
                .filter_map(|part| part.split_once('>'))
                .map(|(_, text)| text.trim())
                .filter(|t| !t.is_empty())
                .collect::<Vec<_>>()
                .join(" ");
            return Err(Error::System(format!(
                "{} answered {}: {}",
                url.path(),
                answer.status,
                said.chars().take(400).collect::<String>()
            )));
        }
        let Some((action, body)) = form(&page) else { return Ok(page) };
        url = url.join(&action).map_err(|_| Error::System("a form leads nowhere".into()))?;
        next = (Method::Post, body);
    }
    Err(Error::System("connecting did not come to an end".into()))
}

fn parse(link: &str) -> Result<url::Url> {
    url::Url::parse(link).map_err(|_| Error::BadRequest("the link is not a URL".into()))
}

fn keep_cookies(jar: &mut BTreeMap<String, String>, answer: &Response) {
    for (_, cookie) in answer.headers.iter().filter(|(name, _)| name == "set-cookie") {
        if let Some((name, value)) = cookie.split(';').next().and_then(|pair| pair.split_once('=')) {
            jar.insert(name.trim().to_owned(), value.trim().to_owned());
        }
    }
}

/// The first form of a page: where it goes, and its fields with the first button pressed.
fn form(page: &str) -> Option<(String, String)> {
    let start = page.find("<form")?;
    let form = &page[start..page[start..].find("</form>").map_or(page.len(), |end| start + end)];
    let head = &form[..form.find('>')?];
    let action = attribute(head, "action").unwrap_or_default();
    let mut body = url::form_urlencoded::Serializer::new(String::new());
    let mut pressed = false;
    for tag in form.split('<').skip(1) {
        let button = tag.starts_with("button") && !pressed;
        if !(tag.starts_with("input") || button) {
            continue;
        }
        pressed |= button;
        if let Some(name) = attribute(tag, "name") {
            body.append_pair(&name, &attribute(tag, "value").unwrap_or_default());
        }
    }
    Some((action, body.finish()))
}

fn attribute(tag: &str, name: &str) -> Option<String> {
    let start = tag.find(&format!(" {name}=\""))? + name.len() + 3;
    let value = &tag[start..start + tag[start..].find('"')?];
    Some(value.replace("&amp;", "&").replace("&quot;", "\"").replace("&#x2F;", "/").replace("&#39;", "'").replace("&#34;", "\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Breaks when a hidden field (the state!) or the pressed button is left out.
    #[test]
    fn a_form_is_sent_whole() {
        let page = r#"<p>x</p><form method="post" action="/go?a=1&amp;b=2"><input type="hidden" name="state" value="s&amp;1"><button name="decision" value="allow">Allow</button><button name="decision" value="deny">No</button></form>"#;
        assert_eq!(form(page), Some(("/go?a=1&b=2".into(), "state=s%261&decision=allow".into())));
    }
}
