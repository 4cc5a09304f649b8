//! The figures of `/metrics`, read back: what a page shows is what Prometheus sees.

use std::collections::BTreeMap;

/// One moment's series.
#[derive(Clone, Debug, Default)]
pub struct Figures {
    series: BTreeMap<String, Vec<Series>>,
}

#[derive(Clone, Debug)]
struct Series {
    labels: Vec<(String, String)>,
    value: f64,
}

impl Series {
    fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(known, _)| known == name).map(|(_, value)| value.as_str())
    }

    fn has(&self, labels: &[(&str, &str)]) -> bool {
        labels.iter().all(|(name, value)| self.label(name) == Some(value))
    }
}

impl Figures {
    /// Reads Prometheus' text format; a line that is none is passed over.
    #[must_use]
    pub fn read(page: &str) -> Self {
        let mut series: BTreeMap<String, Vec<Series>> = BTreeMap::new();
        for line in page.lines().filter(|line| !line.starts_with('#')) {
            if let Some((name, one)) = read(line) {
                series.entry(name.to_owned()).or_default().push(one);
            }
        }
        Self { series }
    }

    /// The sum of a metric's series with these labels; none: there is no such series.
    #[must_use]
    pub fn sum(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let all = self.series.get(name)?.iter().filter(|one| one.has(labels));
        all.map(|one| one.value).reduce(|sum, value| sum + value)
    }

    /// The sums of a metric's series, by the values of a label.
    #[must_use]
    pub fn by(&self, name: &str, label: &str) -> BTreeMap<&str, f64> {
        let mut sums = BTreeMap::new();
        for one in self.series.get(name).into_iter().flatten() {
            if let Some(value) = one.label(label) {
                *sums.entry(value).or_default() += one.value;
            }
        }
        sums
    }
}

fn read(line: &str) -> Option<(&str, Series)> {
    let (series, value) = line.rsplit_once(' ')?;
    let value = value.parse().ok()?;
    let Some((name, labels)) = series.split_once('{') else {
        return Some((series, Series { labels: Vec::new(), value }));
    };
    Some((name, Series { labels: read_labels(labels.strip_suffix('}')?)?, value }))
}

/// Reads `name="value",…`, in whose values `\`, `"` and line ends are escaped.
fn read_labels(mut text: &str) -> Option<Vec<(String, String)>> {
    let mut labels = Vec::new();
    while let Some((name, rest)) = text.split_once("=\"") {
        let (mut value, mut signs) = (String::new(), rest.char_indices());
        let end = loop {
            match signs.next()? {
                (at, '"') => break at,
                (_, '\\') => match signs.next()?.1 {
                    'n' => value.push('\n'),
                    sign => value.push(sign),
                },
                (_, sign) => value.push(sign),
            }
        };
        labels.push((name.trim_start_matches(',').to_owned(), value));
        text = rest.get(end + 1..)?;
    }
    Some(labels)
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = "# HELP lethe_records_total Input.\n\
                        lethe_records_total{topic=\"a\",outcome=\"over\"} 2\n\
                        lethe_records_total{topic=\"b\",outcome=\"over\"} 3\n\
                        lethe_records_total{topic=\"b\",outcome=\"stored\"} 4\n\
                        lethe_tenant_records_total{tenant=\"a\\\"b\\\\c\\n}\"} 5\n\
                        lethe_expiry_lag_seconds 0.25\n\
                        a broken line\n";

    #[test]
    fn series_are_found_by_name_and_labels() {
        let figures = Figures::read(PAGE);
        assert_eq!(figures.sum("lethe_records_total", &[]), Some(9.0));
        assert_eq!(figures.sum("lethe_records_total", &[("outcome", "over")]), Some(5.0));
        assert_eq!(figures.sum("lethe_records_total", &[("outcome", "nothing")]), None);
        assert_eq!(figures.sum("lethe_expiry_lag_seconds", &[]), Some(0.25));
        let by_topic = figures.by("lethe_records_total", "topic");
        assert_eq!(by_topic, BTreeMap::from([("a", 2.0), ("b", 7.0)]));
    }

    #[test]
    fn what_is_escaped_is_read_back() {
        let figures = Figures::read(PAGE);
        let labels = [("tenant", "a\"b\\c\n}")];
        assert_eq!(figures.sum("lethe_tenant_records_total", &labels), Some(5.0));
    }
}
