//! Inputs out of others: pieces cut, copied, swapped, replaced by words that mean something.

/// Numbers that a seed repeats (xorshift64*).
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed | 1)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Below `end`; 0 where that is 0.
    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 16) as usize % end.max(1)
    }
}

/// One of the seeds with one to eight changes.
pub fn mutated(random: &mut Random, seeds: &[Vec<u8>], words: &[&str]) -> Vec<u8> {
    let mut input = seeds[random.below(seeds.len())].clone();
    for _ in 0..=random.below(8) {
        change(random, &mut input, seeds, words);
    }
    // Longer ones find nothing more, slower.
    input.truncate(8 * 1024);
    input
}

fn change(random: &mut Random, input: &mut Vec<u8>, seeds: &[Vec<u8>], words: &[&str]) {
    let from = random.below(input.len() + 1);
    let to = (from + random.below(24)).min(input.len());
    match random.below(8) {
        0 | 1 => drop(input.splice(from..from, words[random.below(words.len())].bytes())),
        2 => drop(input.splice(from..to, words[random.below(words.len())].bytes())),
        3 => drop(input.drain(from..to)),
        4 => {
            let piece = input[from..to].to_vec();
            let times = 1 + random.below(80);
            drop(input.splice(to..to, piece.repeat(times)));
        }
        5 => {
            let other = &seeds[random.below(seeds.len())];
            let start = random.below(other.len() + 1);
            let end = (start + random.below(64)).min(other.len());
            drop(input.splice(from..to, other[start..end].iter().copied()));
        }
        6 => {
            if let Some(byte) = input.get_mut(from) {
                *byte = random.next() as u8;
            }
        }
        _ => input.truncate(from),
    }
}
