//! `[traces]`.

use url::Url;

use super::reader::Section;
use super::{Secret, Traces};

pub(super) fn read(root: &Section<'_>) -> Option<Traces> {
    let section = root.section("traces");
    let endpoint = endpoint(&section);
    let headers = section.list("headers").unwrap_or_default().iter().filter_map(header).collect();
    let service_name = section.text("service_name").unwrap_or_default();
    let (share, timeout) = (section.share("share"), section.duration("timeout"));
    section.finish();
    Some(Traces { endpoint: endpoint?, headers, service_name, share, timeout })
}

fn endpoint(section: &Section<'_>) -> Option<Secret> {
    let field = section.field("endpoint")?;
    if cfg!(not(feature = "otlp")) {
        field.wrong("this binary was built without traces", Some("build it with `--features otlp`".to_owned()));
        return None;
    }
    let url =
        Url::parse(&field.secret()?).ok().filter(|url| matches!(url.scheme(), "http" | "https") && url.has_host());
    match url {
        Some(url) if url.path().trim_end_matches('/').ends_with("/v1/traces") => {
            field.wrong("`/v1/traces` is added to it: leave it out", None);
            None
        }
        Some(url) => Some(Secret::new(url.as_str().trim_end_matches('/'))),
        None => {
            field.wrong("expected the address of a collector, as in http://HOST:4318", None);
            None
        }
    }
}

/// Name and value.
fn header(field: &super::field::Field<'_>) -> Option<(String, Secret)> {
    let text = field.secret()?;
    let parts = text.split_once(':').map(|(name, value)| (name.trim().to_ascii_lowercase(), value.trim().to_owned()));
    let token = |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(&b));
    match parts.filter(|(name, value)| token(name) && value.bytes().all(|b| (32..127).contains(&b))) {
        Some((name, value)) => Some((name, Secret::new(value))),
        None => {
            field.wrong("expected a header, as in \"NAME: VALUE\", in printable ASCII", None);
            None
        }
    }
}
