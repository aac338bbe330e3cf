//! OpenMetrics 1.0, as text.
//!
//! All values are gathered when they are asked for; a library's registry, made to be counted in, would only be its
//! writer of text.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::Duration;

/// What a family of metrics is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Type {
    /// Only grows while the process lives; its samples end in `_total`.
    Counter,
    /// Goes up and down.
    Gauge,
    /// How often something took how long.
    Histogram,
    /// Facts, as labels; its samples end in `_info`.
    Info,
}

/// A family of metrics.
#[derive(Debug)]
pub struct Family {
    /// Without `_total`; a unit is its last word.
    pub name: &'static str,
    /// What it is.
    pub of: Type,
    /// For people.
    pub help: &'static str,
}

/// Upper bounds of a histogram's buckets, in seconds: from what a small fan-out takes to what nobody would wait for.
const BOUNDS: [f64; 14] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// How often something took how long.
#[derive(Clone, Debug, Default)]
pub struct Histogram {
    /// Not summed up; the last is for all that is longer.
    buckets: [u64; BOUNDS.len() + 1],
    sum: f64,
}

impl Histogram {
    /// It took so long once more.
    pub fn observe(&mut self, time: Duration) {
        let seconds = time.as_secs_f64();
        let bucket = BOUNDS.iter().position(|bound| seconds <= *bound).unwrap_or(BOUNDS.len());
        if let Some(count) = self.buckets.get_mut(bucket) {
            *count += 1;
        }
        self.sum += seconds;
    }
}

/// A page, as it is being written.
#[derive(Debug, Default)]
pub struct Page(BTreeMap<&'static str, (&'static Family, BTreeMap<String, Value>)>);

#[derive(Debug)]
enum Value {
    Number(f64),
    Histogram(Histogram),
}

/// Labels with their values; those without one are left out.
pub type Labels<'a> = &'a [(&'static str, &'a str)];

impl Page {
    /// Adds to a sample, or makes it.
    pub fn add(&mut self, family: &'static Family, labels: Labels<'_>, value: f64) {
        match self.samples(family).entry(text(labels)).or_insert(Value::Number(0.0)) {
            Value::Number(number) => *number += value,
            Value::Histogram(_) => {}
        }
    }

    /// Makes a sample, in place of one with the same labels.
    pub fn set(&mut self, family: &'static Family, labels: Labels<'_>, value: f64) {
        self.samples(family).insert(text(labels), Value::Number(value));
    }

    /// Makes a sample, in place of one with the same labels.
    pub fn histogram(&mut self, family: &'static Family, labels: Labels<'_>, histogram: &Histogram) {
        self.samples(family).insert(text(labels), Value::Histogram(histogram.clone()));
    }

    fn samples(&mut self, family: &'static Family) -> &mut BTreeMap<String, Value> {
        &mut self.0.entry(family.name).or_insert_with(|| (family, BTreeMap::new())).1
    }

    /// The page.
    pub fn render(&self) -> String {
        let mut out = String::new();
        for (family, samples) in self.0.values() {
            let Family { name, of, help } = family;
            let (of, suffix) = match of {
                Type::Counter => ("counter", "_total"),
                Type::Gauge => ("gauge", ""),
                Type::Histogram => ("histogram", ""),
                Type::Info => ("info", "_info"),
            };
            // Writing to a String cannot fail.
            let _ = writeln!(out, "# TYPE {name} {of}");
            if let Some(unit) = ["seconds"].into_iter().find(|unit| name.ends_with(&format!("_{unit}"))) {
                let _ = writeln!(out, "# UNIT {name} {unit}");
            }
            let _ = writeln!(out, "# HELP {name} {help}");
            for (labels, value) in samples {
                match value {
                    Value::Number(number) => {
                        let _ = writeln!(out, "{name}{suffix}{} {number}", braces(labels));
                    }
                    Value::Histogram(histogram) => buckets(&mut out, name, labels, histogram),
                }
            }
        }
        out.push_str("# EOF\n");
        out
    }
}

fn buckets(out: &mut String, name: &str, labels: &str, histogram: &Histogram) {
    let bounds = BOUNDS.iter().map(|bound| format!("{bound:?}")).chain(["+Inf".to_owned()]);
    let (comma, mut count) = (if labels.is_empty() { "" } else { "," }, 0);
    for (bound, here) in bounds.zip(histogram.buckets) {
        count += here;
        let _ = writeln!(out, "{name}_bucket{{{labels}{comma}le=\"{bound}\"}} {count}");
    }
    let labels = braces(labels);
    let _ = writeln!(out, "{name}_count{labels} {count}\n{name}_sum{labels} {}", histogram.sum);
}

fn braces(labels: &str) -> String {
    if labels.is_empty() { String::new() } else { format!("{{{labels}}}") }
}

fn text(labels: Labels<'_>) -> String {
    let mut out = String::new();
    for (name, value) in labels.iter().filter(|(_, value)| !value.is_empty()) {
        let comma = if out.is_empty() { "" } else { "," };
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let _ = write!(out, "{comma}{name}=\"{value}\"");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    static WRITES: Family = Family { name: "x_writes", of: Type::Counter, help: "Writes." };
    static AGE: Family = Family { name: "x_age_seconds", of: Type::Gauge, help: "Age." };
    static TIME: Family = Family { name: "x_time_seconds", of: Type::Histogram, help: "Time." };

    #[test]
    fn a_page() {
        let mut page = Page::default();
        page.add(&WRITES, &[("kind", "Secret"), ("cluster", "")], 2.0);
        page.add(&WRITES, &[("kind", "Secret")], 1.0);
        page.add(&WRITES, &[("kind", "a\"b\\c\nd")], 1.0);
        page.add(&AGE, &[], 0.5);
        let mut times = Histogram::default();
        [5, 100, 3_600_000].into_iter().for_each(|millis| times.observe(Duration::from_millis(millis)));
        page.histogram(&TIME, &[("kind", "x")], &times);
        let text = page.render();
        let begins =
            "# TYPE x_age_seconds gauge\n# UNIT x_age_seconds seconds\n# HELP x_age_seconds Age.\nx_age_seconds 0.5\n";
        assert!(text.starts_with(begins), "{text}");
        assert!(text.contains("\nx_writes_total{kind=\"Secret\"} 3\n"), "{text}");
        assert!(text.contains("\nx_writes_total{kind=\"a\\\"b\\\\c\\nd\"} 1\n"), "{text}");
        for line in
            ["bucket{kind=\"x\",le=\"0.01\"} 1", "bucket{kind=\"x\",le=\"0.1\"} 2", "bucket{kind=\"x\",le=\"1.0\"} 2"]
        {
            assert!(text.contains(&format!("\nx_time_seconds_{line}\n")), "{text}");
        }
        let end = "x_time_seconds_bucket{kind=\"x\",le=\"+Inf\"} 3\nx_time_seconds_count{kind=\"x\"} 3\n\
                   x_time_seconds_sum{kind=\"x\"} 3600.105\n";
        assert!(text.contains(end) && text.ends_with("\n# EOF\n"), "{text}");
    }
}
