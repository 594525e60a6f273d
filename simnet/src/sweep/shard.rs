//! Shards: the part of a study's worlds that one process plays.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use crate::Study;
use crate::study::WorldId;

/// Every `count`-th world, beginning with world `index` (from 0). Neighbouring worlds have similar
/// costs and go to different shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: u32,
    count: u32,
}

impl Shard {
    /// The only shard: all worlds.
    pub const WHOLE: Shard = Shard { index: 0, count: 1 };

    /// A shard of `of` shards; `None` unless `index` is from 0 to `of - 1`.
    pub fn new(index: u32, of: u32) -> Option<Shard> {
        (index < of).then_some(Shard { index, count: of })
    }

    /// The shard of a Slurm array task or of a Kubernetes indexed job; `None` outside of both.
    ///
    /// `SLURM_ARRAY_TASK_MIN` says from which number Slurm counts. If a part of an array is
    /// submitted again, Slurm's count is smaller, and only `--shard` gives the right shard.
    ///
    /// # Errors
    /// A variable is missing or not a number, or the task's number is out of range.
    pub fn from_environment(
        variable: impl Fn(&str) -> Option<String>,
    ) -> Result<Option<Shard>, String> {
        let number = |name: &str| {
            let text = variable(name);
            let not_a_number = |_| format!("{name} is not a number: give --shard i/n");
            text.map(|text| text.trim().parse::<u32>().map_err(not_a_number)).transpose()
        };
        let (index, of, names) = match number("SLURM_ARRAY_TASK_ID")? {
            Some(task) => {
                let first = number("SLURM_ARRAY_TASK_MIN")?.unwrap_or(0);
                let count = number("SLURM_ARRAY_TASK_COUNT")?;
                (task.checked_sub(first), count, "SLURM_ARRAY_TASK_COUNT")
            }
            None => match number("JOB_COMPLETION_INDEX")? {
                Some(index) => (Some(index), number("JOB_COMPLETIONS")?, "JOB_COMPLETIONS"),
                None => return Ok(None),
            },
        };
        let of = of.ok_or_else(|| format!("{names} is not set: give --shard i/n"))?;
        let shard = index.and_then(|index| Shard::new(index, of));
        let beyond = || format!("this task's number is beyond {names} ({of}): give --shard i/n");
        shard.map(Some).ok_or_else(beyond)
    }

    /// The worlds of the shard, in order.
    pub fn world_ids(self, study: &Study) -> impl Iterator<Item = WorldId> {
        let numbers = (u64::from(self.index)..study.worlds()).step_by(self.count as usize);
        numbers.map(|n| study.world_id(n))
    }

    /// The number of shards.
    pub fn count(self) -> u32 {
        self.count
    }

    /// The number of this shard, from 0.
    pub fn index(self) -> u32 {
        self.index
    }

    pub(super) fn file(self, out: &Path) -> PathBuf {
        out.join(format!("{}.jsonl", self.stem()))
    }

    pub(super) fn parts(self, out: &Path) -> PathBuf {
        out.join(format!("{}.parts", self.stem()))
    }

    pub(super) fn lock(self, out: &Path) -> PathBuf {
        out.join(format!("{}.lock", self.stem()))
    }

    fn stem(self) -> String {
        format!("shard-{}-of-{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Shard, String> {
        let parts = text.split_once('/');
        let numbers = parts.and_then(|(i, n)| Some((i.parse().ok()?, n.parse().ok()?)));
        let shard = numbers.and_then(|(index, of)| Shard::new(index, of));
        shard.ok_or_else(|| {
            "write a shard as i/n, i from 0 to n-1: 0/64 is the first of 64".to_owned()
        })
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}
