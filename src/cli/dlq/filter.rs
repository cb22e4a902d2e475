//! Which dead letters a command is about: the options that all commands share.

use jiff::{SpanRelativeTo, Timestamp};
use serde_json::Value;

use crate::cli::exit::CliError;
use crate::config::Pipeline;
use crate::dead_letter::DeadLetterInfo;
use crate::digest;

use super::letter::Letter;

/// Hexadecimal digits of a group's fingerprint.
const FINGERPRINT: usize = 8;

#[derive(Clone, Debug, Default, clap::Args)]
#[command(next_help_heading = "Which dead letters")]
pub(super) struct FilterArgs {
    /// Those of one cause, as `dlq stats` prints it: class, code, column and table together
    #[arg(long, value_name = "FINGERPRINT")]
    group: Option<String>,
    /// Those of this error class: decode, mapping, row_rejected, id_conflict
    #[arg(long)]
    class: Option<String>,
    /// Those with this code: an SQLSTATE, an errno or a word
    #[arg(long)]
    code: Option<String>,
    /// Those that failed for this column
    #[arg(long)]
    column: Option<String>,
    /// Those that failed at this time or later: 2026-01-31T08:00:00Z, 2026-01-31, or 2h for two hours ago
    #[arg(long, value_name = "TIME", value_parser = time)]
    since: Option<Timestamp>,
    /// Those that failed before this time
    #[arg(long, value_name = "TIME", value_parser = time)]
    until: Option<Timestamp>,
    /// Those whose body has this value at this place: /customer/id=17; may be given again
    #[arg(long = "where", value_name = "/POINTER=VALUE", value_parser = Where::parse)]
    places: Vec<Where>,
    /// The one with this ID, or beginning of an ID; may be given again
    #[arg(long, value_name = "ID")]
    id: Vec<String>,
    /// So many at most, in the order of the queue (`dlq list`: 100 unless said)
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub(super) limit: Option<u64>,
}

/// A place in the body and what must stand there.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Where {
    pointer: String,
    value: String,
}

impl Where {
    pub(super) fn parse(text: &str) -> Result<Self, String> {
        let (pointer, value) =
            text.split_once('=').ok_or("expected /POINTER=VALUE, such as /customer/id=17".to_owned())?;
        if !pointer.is_empty() && !pointer.starts_with('/') {
            return Err(format!("a JSON Pointer begins with a slash: /{pointer}"));
        }
        Ok(Where { pointer: pointer.to_owned(), value: value.to_owned() })
    }

    pub(super) fn pointer(&self) -> &str {
        &self.pointer
    }

    /// The value as JSON where it is some, else as text.
    pub(super) fn json(&self) -> Value {
        serde_json::from_str(&self.value).unwrap_or_else(|_| Value::String(self.value.clone()))
    }

    fn holds(&self, body: &Value) -> bool {
        match body.pointer(&self.pointer) {
            None => false,
            Some(Value::String(text)) if *text == self.value => true,
            Some(found) => *found == self.json(),
        }
    }
}

fn time(text: &str) -> Result<Timestamp, String> {
    if let Ok(at) = text.parse::<Timestamp>() {
        return Ok(at);
    }
    if let Ok(day) = text.parse::<jiff::civil::Date>() {
        return day.to_zoned(jiff::tz::TimeZone::UTC).map(|day| day.timestamp()).map_err(|error| error.to_string());
    }
    let ago = text.parse::<jiff::Span>().ok().and_then(|span| {
        let span = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok()?;
        Timestamp::now().checked_sub(span).ok()
    });
    ago.ok_or_else(|| {
        "expected a time such as 2026-01-31T08:00:00Z, a day (in UTC), or 2h for two hours ago".to_owned()
    })
}

/// A group's name: the beginning of a hash of what its letters have in common.
pub(super) fn fingerprint(info: &DeadLetterInfo) -> String {
    let parts = [&info.class, &info.code, &info.column, &info.table];
    let parts = parts.map(|part| part.as_deref().unwrap_or_default().as_bytes());
    digest::hex(&digest::sha256(&parts))[..FINGERPRINT].to_owned()
}

impl FilterArgs {
    /// One letter, by the beginning of its ID.
    pub(super) fn check(&self) -> Result<(), CliError> {
        if self.id.iter().any(|id| id.trim().is_empty()) {
            return Err(CliError::usage("--id: an ID, or the beginning of one, is needed; `dlq list` prints them"));
        }
        if self.group.as_ref().is_some_and(|group| group.len() < 4) {
            return Err(CliError::usage("--group: at least four digits are needed; `dlq stats` prints them"));
        }
        Ok(())
    }

    /// What to say where none was taken.
    pub(super) fn none(&self) -> &'static str {
        if self.is_set() { "no dead letter matches" } else { "no dead letters" }
    }

    /// Some letters aren't asked for.
    pub(super) fn is_set(&self) -> bool {
        let FilterArgs { group, class, code, column, since, until, places, id, limit: _ } = self;
        let texts = [group, class, code, column];
        let lists = places.is_empty() && id.is_empty();
        texts.iter().any(|text| text.is_some()) || since.is_some() || until.is_some() || !lists
    }

    /// The letter is the pipeline's, and what the options ask for. `limit` is the caller's.
    pub(super) fn takes(&self, pipeline: &Pipeline, letter: &Letter) -> bool {
        owns(pipeline, &letter.info) && self.matches(letter)
    }

    /// The letter is what the options ask for.
    pub(super) fn matches(&self, letter: &Letter) -> bool {
        let info = &letter.info;
        let is = |wanted: &Option<String>, found: &Option<String>| wanted.is_none() || wanted == found;
        is(&self.class, &info.class)
            && is(&self.code, &info.code)
            && is(&self.column, &info.column)
            && self.group.as_ref().is_none_or(|group| fingerprint(info).starts_with(group.as_str()))
            && (self.id.is_empty() || self.id.iter().any(|id| info.id.starts_with(id.trim())))
            && self.in_time(info)
            && self.places_hold(letter)
    }

    fn in_time(&self, info: &DeadLetterInfo) -> bool {
        if self.since.is_none() && self.until.is_none() {
            return true;
        }
        let Some(at) = failed_at(info) else { return false };
        self.since.is_none_or(|since| at >= since) && self.until.is_none_or(|until| at < until)
    }

    fn places_hold(&self, letter: &Letter) -> bool {
        if self.places.is_empty() {
            return true;
        }
        let Ok(body) = serde_json::from_slice::<Value>(&letter.envelope.body) else { return false };
        self.places.iter().all(|place| place.holds(&body))
    }
}

/// When it failed, as far as it says so in a way that can be read. A time without a zone is in UTC.
pub(super) fn failed_at(info: &DeadLetterInfo) -> Option<Timestamp> {
    let text = info.failed_at.as_deref()?;
    text.parse().ok().or_else(|| {
        let civil: jiff::civil::DateTime = text.parse().ok()?;
        civil.to_zoned(jiff::tz::TimeZone::UTC).ok().map(|zoned| zoned.timestamp())
    })
}

/// Pipelines may share a dead-letter queue. What another program or the broker put there names no
/// pipeline: it belongs to the one whose queue it came from, and if that isn't known, to each.
pub(super) fn owns(pipeline: &Pipeline, info: &DeadLetterInfo) -> bool {
    match (&info.pipeline, &info.queue) {
        (Some(name), _) => *name == pipeline.name,
        (None, Some(queue)) => *queue == pipeline.queue,
        (None, None) => true,
    }
}

#[cfg(test)]
mod tests {
    use super::super::letter::example;
    use super::*;

    fn takes(change: impl FnOnce(&mut FilterArgs)) -> bool {
        let mut filter = FilterArgs::default();
        change(&mut filter);
        assert!(filter.is_set());
        filter.matches(&example())
    }

    #[test]
    fn a_place_in_the_body() {
        let at = |text: &str| takes(|filter| filter.places = vec![Where::parse(text).unwrap()]);
        assert!(at("/qty=many") && at("/qty=\"many\"") && at("/price=19.990"));
        assert!(!at("/qty=few") && !at("/nothing=many") && !at("/qty=17"));
        assert!(Where::parse("qty=1").is_err() && Where::parse("/qty").is_err());
    }

    #[test]
    fn a_stretch_of_time() {
        let since = |text: &str| takes(|filter| filter.since = Some(time(text).unwrap()));
        let until = |text: &str| takes(|filter| filter.until = Some(time(text).unwrap()));
        assert!(since("2025-11-21") && since("2025-11-21T05:28:00Z") && !since("2025-11-21T05:28:01Z"));
        assert!(until("2025-11-21T05:28:01Z") && !until("2025-11-21T05:28:00Z"));
        assert!(!since("1h") && until("1h"), "an hour ago is later than the letter");
        assert!(time("yesterday-ish").is_err());
    }

    #[test]
    fn a_group_is_class_code_column_and_table() {
        let info = example().info;
        let same = fingerprint(&DeadLetterInfo { reason: None, attempts: Some(9), ..info.clone() });
        assert_eq!(fingerprint(&info), same);
        for other in [
            DeadLetterInfo { class: None, ..info.clone() },
            DeadLetterInfo { code: None, ..info.clone() },
            DeadLetterInfo { column: None, ..info.clone() },
            DeadLetterInfo { table: None, ..info.clone() },
        ] {
            assert_ne!(fingerprint(&info), fingerprint(&other));
        }
        assert!(takes(|filter| filter.group = Some(same[..5].to_owned())));
        assert!(!takes(|filter| filter.group = Some("00000000".to_owned())));
    }
}
