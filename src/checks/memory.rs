//! What the unacked messages may take at worst, beside what this process may have.

use super::Finding;
use crate::config::Config;

/// What a worker has beside its messages: code, connections, buffers.
const BASE: u64 = 48 << 20;

/// The worst case of all pipelines together, in one line, beside the process's own limit or what the machine has: the
/// lower of the two. Both in bytes, `None` where there is none or it isn't known.
pub fn memory(config: &Config, limit: Option<u64>, machine: Option<u64>) -> Finding {
    let mut worst = BASE;
    let mut parts = Vec::new();
    for pipeline in config.pipelines.values() {
        let limits = &pipeline.limits;
        let unbounded = u64::from(pipeline.prefetch).saturating_mul(limits.max_body as u64);
        let bodies = unbounded.min((limits.max_unacked_bytes as u64).max(limits.max_body as u64));
        // A batch stands in memory once more as values and as the statement that carries them.
        let batch = 2 * (pipeline.batch.max_bytes as u64).max(limits.max_body as u64).min(bodies);
        let all = (bodies + batch).saturating_mul(u64::from(pipeline.consumers));
        worst = worst.saturating_add(all);
        parts.push(format!(
            "{} {} × ({} unacked + {} in a batch; prefetch × max_body alone would be {})",
            pipeline.name,
            pipeline.consumers,
            mib(bodies),
            mib(batch),
            mib(unbounded)
        ));
    }
    let text = format!("at worst {}: {}", mib(worst), parts.join(", "));
    let (most, beside) = match (limit, machine) {
        (Some(limit), Some(machine)) if machine < limit => {
            (Some(machine), format!("the limit is {}, but the machine has {}", mib(limit), mib(machine)))
        }
        (Some(limit), _) => (Some(limit), format!("the limit is {}", mib(limit))),
        (None, Some(machine)) => {
            (Some(machine), format!("this process has no limit of its own, the machine has {}", mib(machine)))
        }
        (None, None) => (None, "this process has no limit of its own".to_owned()),
    };
    let text = format!("{text}; {beside}");
    if most.is_none_or(|most| worst <= most) {
        return Finding::ok("memory", text);
    }
    Finding::warning("memory", text)
        .todo("lower limits.max_unacked_bytes, limits.max_body or consumers, or give it more memory")
}

fn mib(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::super::Level;
    use super::*;

    #[test]
    fn the_worst_case_stands_beside_the_limit() {
        let text = "[pipelines.orders]\nqueue = \"q\"\ntable = \"t\"\nprefetch = 2000\n";
        let config = crate::config::load_str("t", text, &[]).unwrap();
        for (limit, machine, level, said) in [
            (None, None, Level::Ok, "no limit of its own"),
            (None, Some(1 << 30), Level::Ok, "no limit of its own, the machine has 1024 MiB"),
            (None, Some(64 << 20), Level::Warning, "no limit of its own, the machine has 64 MiB"),
            (Some(1 << 30), None, Level::Ok, "the limit is 1024 MiB"),
            (Some(1 << 30), Some(64 << 20), Level::Warning, "the limit is 1024 MiB, but the machine has 64 MiB"),
            (Some(64 << 20), Some(1 << 30), Level::Warning, "the limit is 64 MiB"),
        ] {
            let found = memory(&config, limit, machine);
            assert!(found.level == level && found.text.contains(said), "{found:?}");
            assert!(found.text.contains("at worst 144 MiB: orders 1 × (64 MiB unacked"), "{found:?}");
            assert!(found.text.contains("prefetch × max_body alone would be 32000 MiB"), "{found:?}");
        }
    }
}
