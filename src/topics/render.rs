//! A plan as text for a person.

use std::fmt;

use super::plan::{Change, Plan};

/// A plan, to be written out.
#[derive(Clone, Copy, Debug)]
pub struct Rendered<'a>(pub &'a Plan);

impl fmt::Display for Rendered<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Plan { changes, problems, warnings, topics } = self.0;
        for change in changes {
            write!(f, "{change}")?;
        }
        if changes.is_empty() && problems.is_empty() {
            writeln!(f, "Every topic is as it must be.")?;
        }
        for (title, lines) in [("Problems", problems), ("Warnings", warnings)] {
            if !lines.is_empty() {
                writeln!(f, "\n{title}")?;
            }
            for line in lines {
                writeln!(f, "  ! {line}")?;
            }
        }
        writeln!(f, "\nHow long bytes can outlive their end")?;
        let width = topics.iter().map(|topic| topic.topic.len()).max().unwrap_or(0);
        for topic in topics {
            writeln!(f, "  {:width$}  {}", topic.topic, topic.bytes_outlive)?;
        }
        Ok(())
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Create { topic, partitions, settings } => {
                writeln!(f, "+ create {topic} with {partitions} partitions")?;
                settings.iter().try_for_each(|(name, value)| writeln!(f, "    {name} = {value}"))
            }
            Self::AddPartitions { topic, from, to } => {
                writeln!(f, "~ {topic}: {from} partitions become {to}")
            }
            Self::Set { topic, settings } => {
                writeln!(f, "~ {topic}")?;
                settings.iter().try_for_each(|change| {
                    let from = change.from.as_deref().unwrap_or("unknown");
                    writeln!(f, "    {}: {from} becomes {}", change.setting, change.to)
                })
            }
        }
    }
}
