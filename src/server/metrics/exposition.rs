//! The two text formats that scrapers read. What is written is OpenMetrics 1.0; the older format is made of it.

use std::fmt::Write as _;

/// A text format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// OpenMetrics 1.0.0: for who asks for it.
    OpenMetrics,
    /// Prometheus text format 0.0.4: for everybody else.
    Text,
}

impl Format {
    /// The best format for a request with this `Accept` (RFC 9110 section 12.5.1). OpenMetrics must be named, with version 1.0.0 or
    /// none: `*/*` says nothing about what its sender can read.
    #[must_use]
    pub fn asked_by(accept: &str) -> Self {
        let (mut open_metrics, mut text) = (0.0_f32, 0.0_f32);
        for range in accept.split(',') {
            let mut parts = range.split(';').map(str::trim);
            let kind = parts.next().unwrap_or_default().to_ascii_lowercase();
            let (mut quality, mut version) = (Some(1.0_f32), None);
            for (name, value) in parts.filter_map(|part| part.split_once('=')) {
                match &*name.to_ascii_lowercase() {
                    "q" => quality = value.parse().ok().filter(|quality| (0.0..=1.0).contains(quality)),
                    "version" => version = Some(value.trim_matches('"')),
                    _ => {}
                }
            }
            // A weight that cannot be read says nothing.
            let Some(quality) = quality else { continue };
            match (&*kind, version) {
                ("application/openmetrics-text", None | Some("1.0.0")) => open_metrics = open_metrics.max(quality),
                ("text/plain", None | Some("0.0.4")) | ("text/*" | "*/*", _) => text = text.max(quality),
                _ => {}
            }
        }
        if open_metrics > 0.0 && open_metrics >= text { Self::OpenMetrics } else { Self::Text }
    }

    /// Its media type.
    #[must_use]
    pub fn content_type(self) -> &'static str {
        match self {
            Self::OpenMetrics => "application/openmetrics-text; version=1.0.0; charset=utf-8",
            Self::Text => "text/plain; version=0.0.4; charset=utf-8",
        }
    }
}

/// OpenMetrics text in the older format: there a counter's family has the full name of its samples, and units and the end mark
/// are unknown.
pub(super) fn older(open_metrics: &str) -> String {
    let mut text = String::with_capacity(open_metrics.len());
    let mut lines = open_metrics.lines().filter(|line| !line.starts_with("# UNIT ") && *line != "# EOF").peekable();
    while let Some(line) = lines.next() {
        // Each family is `# HELP name …`, `# TYPE name kind`, and its samples.
        let help = line.strip_prefix("# HELP ").and_then(|rest| rest.split_once(' '));
        let kind = lines.peek().and_then(|next| next.strip_prefix("# TYPE ")?.split_once(' '));
        // Writing to a String cannot fail.
        match (help, kind) {
            (Some((name, help)), Some((_, kind))) => {
                lines.next();
                let suffix = if kind == "counter" { "_total" } else { "" };
                writeln!(text, "# HELP {name}{suffix} {help}\n# TYPE {name}{suffix} {kind}").ok();
            }
            (None | Some(_), _) => {
                writeln!(text, "{line}").ok();
            }
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_metrics_is_for_who_can_read_it() {
        let prometheus_3 = "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,\
            application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let prometheus_2 = "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,\
            text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        for accept in [
            prometheus_3,
            prometheus_2,
            "application/openmetrics-text",
            "Application/OpenMetrics-Text; Version=\"1.0.0\"; charset=utf-8",
            "text/plain;q=0.5, application/openmetrics-text;q=0.5",
        ] {
            assert_eq!(Format::asked_by(accept), Format::OpenMetrics, "{accept}");
        }
        // With a scrape protocol of protobuf alone, or an old version, or a browser, or nothing at all.
        for accept in [
            "",
            "*/*",
            "text/plain",
            "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8",
            "application/*",
            "application/openmetrics-text;q=0",
            "application/openmetrics-text;version=0.0.1",
            "application/openmetrics-text;version=2.0.0",
            "application/openmetrics-text;q=0.3,text/plain;version=0.0.4;q=0.5",
            "application/openmetrics-text;q=0.3,*/*",
            "application/openmetrics-text;q=NaN",
            "application/openmetrics-text;q=2",
            "application/openmetrics-text;q=-1",
            "application/openmetrics-textual",
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited;q=0.6",
            ";;,,=;q==",
        ] {
            assert_eq!(Format::asked_by(accept), Format::Text, "{accept}");
        }
    }

    #[test]
    fn the_older_format_knows_counters_by_their_full_name() {
        let open_metrics = "\
# HELP a Help of a.
# TYPE a counter
a_total{x=\"# EOF\"} 1
# HELP b_seconds Of # TYPE.
# TYPE b_seconds gauge
# UNIT b_seconds seconds
b_seconds 0.5
# EOF
";
        let wanted = "\
# HELP a_total Help of a.
# TYPE a_total counter
a_total{x=\"# EOF\"} 1
# HELP b_seconds Of # TYPE.
# TYPE b_seconds gauge
b_seconds 0.5
";
        assert_eq!(older(open_metrics), wanted);
    }
}
