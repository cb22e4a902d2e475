//! The two text formats: OpenMetrics, which the library writes, and the older one of Prometheus, which
//! many tools read alone.

/// A text format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0.
    OpenMetrics,
    /// Prometheus' text format 0.0.4.
    Prometheus,
}

impl Format {
    /// What the header `Accept` asks for. OpenMetrics must be named, by whoever reads it at least as gladly
    /// as plain text.
    pub fn accepted(accept: &str) -> Self {
        let (mut open, mut plain): (f32, f32) = (0.0, 0.0);
        for part in accept.split(',') {
            let mut words = part.split(';').map(str::trim);
            let kind = words.next().unwrap_or_default().to_ascii_lowercase();
            let parameters: Vec<(&str, &str)> = words.filter_map(|word| word.split_once('=')).collect();
            let value =
                |name: &str| parameters.iter().find(|(key, _)| key.trim() == name).map(|(_, value)| value.trim());
            let quality = value("q").and_then(|q| q.parse().ok()).unwrap_or(1.0);
            match kind.as_str() {
                "application/openmetrics-text" if matches!(value("version"), None | Some("1.0.0")) => {
                    open = open.max(quality);
                }
                "text/plain" | "text/*" | "*/*" => plain = plain.max(quality),
                _ => {}
            }
        }
        if open > 0.0 && open >= plain { Format::OpenMetrics } else { Format::Prometheus }
    }

    /// The header `Content-Type`.
    pub fn content_type(self) -> &'static str {
        match self {
            Format::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Format::Prometheus => "text/plain; version=0.0.4; charset=utf-8",
        }
    }

    /// An exposition in OpenMetrics as one in this format.
    pub(super) fn of(self, text: String) -> String {
        match self {
            Format::OpenMetrics => text,
            Format::Prometheus => older(&text),
        }
    }
}

/// Samples look alike in both. The older format describes counters and infos under the names of their
/// samples, and knows neither units nor an end.
fn older(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut help = None;
    for line in text.lines() {
        if let Some(described) = line.strip_prefix("# HELP ") {
            help = Some(described);
        } else if let Some(typed) = line.strip_prefix("# TYPE ") {
            let (name, kind) = typed.rsplit_once(' ').unwrap_or((typed, "untyped"));
            let (suffix, kind) = match kind {
                "counter" => ("_total", "counter"),
                "info" => ("_info", "gauge"),
                kind => ("", kind),
            };
            let words = help.take().and_then(|help| help.strip_prefix(name)).unwrap_or_default();
            out.push_str(&format!("# HELP {name}{suffix}{words}\n# TYPE {name}{suffix} {kind}\n"));
        } else if !line.starts_with('#') {
            out.push_str(line);
            out.push('\n');
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openmetrics_is_for_those_who_ask_for_it() {
        let prometheus_2 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
                            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,text/plain;version=1.0.0;\
                            escaping=allow-utf-8;q=0.4,text/plain;version=0.0.4;q=0.2,*/*;q=0.1";
        for accept in
            [prometheus_2, prometheus_3, "application/openmetrics-text", "Application/OpenMetrics-Text; version=1.0.0"]
        {
            assert_eq!(Format::accepted(accept), Format::OpenMetrics, "{accept}");
        }
        let text_first = "text/plain;version=0.0.4;q=0.9,application/openmetrics-text;version=1.0.0;q=0.5";
        for accept in [
            "",
            "*/*",
            "text/plain",
            text_first,
            "application/openmetrics-text;q=0",
            "text/html,*/*;q=0.8",
            ";;,=,q",
            "application/openmetrics-text;version=0.0.1",
        ] {
            assert_eq!(Format::accepted(accept), Format::Prometheus, "{accept}");
        }
    }

    #[test]
    fn the_older_format_names_counters_as_their_samples() {
        let text = "# HELP a_build The version\n# TYPE a_build info\na_build_info{version=\"1\"} 1\n\
                    # HELP a_bytes Bytes\n# TYPE a_bytes counter\n# UNIT a_bytes bytes\na_bytes_total{b=\"# x\"} 5\n\
                    # HELP a_state States\n# TYPE a_state gauge\na_state 1\n# EOF\n";
        let expected = "# HELP a_build_info The version\n# TYPE a_build_info gauge\na_build_info{version=\"1\"} 1\n\
                        # HELP a_bytes_total Bytes\n# TYPE a_bytes_total counter\na_bytes_total{b=\"# x\"} 5\n\
                        # HELP a_state States\n# TYPE a_state gauge\na_state 1\n";
        assert_eq!(older(text), expected);
    }
}
