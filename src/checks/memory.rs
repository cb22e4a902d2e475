//! What the unacked messages may take at worst, beside what this process may have.

use super::Finding;
use crate::config::Config;

/// What a worker has beside its messages: code, connections, buffers.
const BASE: u64 = 48 << 20;

/// The worst case of all pipelines together, in one line.
pub fn memory(config: &Config, limit: Option<u64>) -> Finding {
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
    match limit {
        None => Finding::ok("memory", format!("{text}; this process has no limit of its own")),
        Some(limit) if worst <= limit => Finding::ok("memory", format!("{text}; the limit is {}", mib(limit))),
        Some(limit) => Finding::warning("memory", format!("{text}; the limit is {}", mib(limit)))
            .todo("lower limits.max_unacked_bytes, limits.max_body or consumers, or raise the limit"),
    }
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
        for (limit, level, said) in [
            (None, Level::Ok, "no limit of its own"),
            (Some(1 << 30), Level::Ok, "the limit is 1024 MiB"),
            (Some(64 << 20), Level::Warning, "the limit is 64 MiB"),
        ] {
            let found = memory(&config, limit);
            assert!(found.level == level && found.text.contains(said), "{found:?}");
            assert!(found.text.contains("at worst 144 MiB: orders 1 × (64 MiB unacked"), "{found:?}");
            assert!(found.text.contains("prefetch × max_body alone would be 32000 MiB"), "{found:?}");
        }
    }
}
