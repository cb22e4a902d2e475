//! What this process takes of its machine, by Linux' own books; elsewhere nothing is known.

use std::fs::read_to_string;
use std::path::Path;

use super::metrics::Number;

/// Of a second: how Linux counts CPU time for programs, whatever its own clock does.
const TICKS: f64 = 100.0;

/// As of now. What can't be read is `None`.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Process {
    resident_bytes: Option<u64>,
    memory_limit_bytes: Option<u64>,
    open_files: Option<u64>,
    max_files: Option<u64>,
    start_seconds: Option<f64>,
    pub(super) cpu_seconds: Option<f64>,
}

impl Process {
    /// Reads a handful of small files.
    pub(super) fn now() -> Self {
        let read = |path: &str| read_to_string(path).unwrap_or_default();
        let stat = read("/proc/self/stat");
        Process {
            resident_bytes: memory(),
            memory_limit_bytes: memory_limit(),
            open_files: std::fs::read_dir("/proc/self/fd").ok().map(|files| files.count() as u64),
            max_files: field(&read("/proc/self/limits"), "Max open files", 0),
            start_seconds: started(&stat, &read("/proc/stat")),
            cpu_seconds: ticks(&stat, 11).zip(ticks(&stat, 12)).map(|(user, system)| (user + system) / TICKS),
        }
    }

    /// Names as every Prometheus client has them, and the limit.
    pub(super) fn gauges(&self) -> [(&'static str, &'static str, Option<Number>); 5] {
        let count = |number: Option<u64>| number.map(Number::Count);
        [
            ("process_resident_memory_bytes", "Memory of this process in RAM", count(self.resident_bytes)),
            (
                "rabbit_sink_memory_limit_bytes",
                "What this process's control group may have; absent where it has no limit",
                count(self.memory_limit_bytes),
            ),
            ("process_open_fds", "Open file descriptors", count(self.open_files)),
            ("process_max_fds", "File descriptors that may be open", count(self.max_files)),
            (
                "process_start_time_seconds",
                "When this process was started, in seconds since 1970",
                self.start_seconds.map(Number::Seconds),
            ),
        ]
    }
}

/// Bytes of this process in RAM, where known.
pub fn memory() -> Option<u64> {
    field(&read_to_string("/proc/self/status").unwrap_or_default(), "VmRSS:", 0).map(|kib| kib * 1024)
}

/// The number behind a name at the beginning of a line.
fn field(text: &str, name: &str, at: usize) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().nth(at)?.parse().ok()
}

/// A field of `/proc/self/stat`, counted from the state, which follows the name in brackets.
fn ticks(stat: &str, at: usize) -> Option<f64> {
    stat.rsplit_once(')')?.1.split_whitespace().nth(at)?.parse().ok()
}

fn started(stat: &str, machine: &str) -> Option<f64> {
    let boot = field(machine, "btime", 0)?;
    Some(boot as f64 + ticks(stat, 19)? / TICKS)
}

/// Bytes of memory that the machine has, where known.
pub fn machine_memory() -> Option<u64> {
    field(&read_to_string("/proc/meminfo").unwrap_or_default(), "MemTotal:", 0).map(|kib| kib * 1024)
}

/// Bytes that this process's control group may have; `None`: without a limit.
pub fn memory_limit() -> Option<u64> {
    let own = std::fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    limit_below(Path::new("/sys/fs/cgroup"), &own)
}

/// The lowest limit from the group upwards, of version 2 or 1.
fn limit_below(root: &Path, own: &str) -> Option<u64> {
    let mut limits = Vec::new();
    for line in own.lines() {
        let mut fields = line.splitn(3, ':');
        let (Some(_), Some(controllers), Some(group)) = (fields.next(), fields.next(), fields.next()) else { continue };
        let (root, file) = match controllers {
            "" => (root.to_owned(), "memory.max"),
            names if names.split(',').any(|name| name == "memory") => (root.join("memory"), "memory.limit_in_bytes"),
            _ => continue,
        };
        // Within a container the group's path may be the host's, and its files stand at the root.
        for group in Path::new(group.trim_start_matches('/')).ancestors() {
            let text = std::fs::read_to_string(root.join(group).join(file)).unwrap_or_default();
            limits.extend(text.trim().parse::<u64>().ok());
        }
    }
    // Version 1 writes "no limit" as a number near 2^63.
    limits.into_iter().min().filter(|limit| *limit < 1 << 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_known_to_linux() {
        let process = Process::now();
        let resident = process.resident_bytes.unwrap();
        assert!(resident > 1 << 20 && resident < 1 << 40, "{resident}");
        assert!(machine_memory().unwrap() > resident);
        let started = process.start_seconds.unwrap();
        let now = jiff::Timestamp::now().as_second() as f64;
        assert!(started > 1.6e9 && started <= now + 2.0, "{started} {now}");
        assert!(
            process.open_files.unwrap() > 2 && process.max_files.unwrap() > 10 && process.cpu_seconds.unwrap() >= 0.0
        );
    }

    #[test]
    fn a_name_with_blanks_and_brackets_does_not_shift_the_fields() {
        let stat = "7 (a) b (c) S 1 7 7 0 -1 4194560 100 0 0 0 250 50 0 0 20 0 5 0 123456 1 1";
        assert_eq!((ticks(stat, 11), ticks(stat, 12), ticks(stat, 19)), (Some(250.0), Some(50.0), Some(123_456.0)));
        assert_eq!(started(stat, "cpu 1\nbtime 1700000000\n"), Some(1_700_001_234.56));
    }

    #[test]
    fn the_lowest_limit_on_the_way_up_counts() {
        let root = std::env::temp_dir().join(format!("rabbit-sink-cgroup-{}", std::process::id()));
        let write = |path: &str, text: &str| {
            std::fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            std::fs::write(root.join(path), text).unwrap();
        };
        write("memory.max", "max\n");
        write("a/memory.max", "1000\n");
        write("a/b/memory.max", "5000\n");
        write("memory/c/memory.limit_in_bytes", "9223372036854771712\n");
        assert_eq!(limit_below(&root, "0::/a/b\n"), Some(1000));
        assert_eq!(limit_below(&root, "0::/elsewhere\n"), None);
        assert_eq!(limit_below(&root, "4:cpu,memory:/c\n"), None);
        assert_eq!(limit_below(&root, ""), None);
        std::fs::remove_dir_all(&root).unwrap();
    }
}
