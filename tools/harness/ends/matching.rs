//! Which input an output belongs to, told from the output's RTP header alone. Sans-IO.
//!
//! The first output answers the first input; from there on the n-th sequence number answers the n-th
//! input, whether the engine fills gaps or leaves them. Timestamps mislead: an engine that lets them
//! slip under loss would look as if its delay grew. A slip is counted instead. Only at the start of a
//! talkspurt (marker bit) is a step of the timestamp believed: there an engine left packets out on
//! purpose, and its sequence numbers do not show how many.

/// A step back further than this is not reordering but the output of another time.
const REORDERED_PACKETS_MAX: i16 = 64;

/// One direction of one call, as its receiver sees it.
#[derive(Clone, Debug)]
pub struct Matcher {
    /// Units of RTP clock in a packet.
    timestamp_step: u32,
    last: Option<Last>,
    /// What was seen besides packets in order.
    pub seen: Anomalies,
}

#[derive(Clone, Copy, Debug)]
struct Last {
    sequence_number: u16,
    timestamp: u32,
    input: u64,
}

/// Deviations of an output stream, counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct Anomalies {
    /// Packets behind one that came before.
    pub reordered: u64,
    /// Steps back by more than reordering explains.
    pub jumps_back: u64,
    /// Packets of time by which timestamp and sequence number parted, both ways added up.
    pub timestamp_slips: u64,
}

impl Anomalies {
    /// Adds another stream's.
    pub fn add(&mut self, other: Anomalies) {
        self.reordered += other.reordered;
        self.jumps_back += other.jumps_back;
        self.timestamp_slips += other.timestamp_slips;
    }
}

impl Matcher {
    /// Nothing seen yet.
    pub fn new(timestamp_step: u32) -> Self {
        Self { timestamp_step, last: None, seen: Anomalies::default() }
    }

    /// The number, from 0, of the input that this output answers; `None` when it is of before the
    /// first.
    pub fn input_of(&mut self, sequence_number: u16, timestamp: u32, marker: bool) -> Option<u64> {
        let Some(last) = self.last else {
            self.last = Some(Last { sequence_number, timestamp, input: 0 });
            return Some(0);
        };
        let packets = sequence_number.wrapping_sub(last.sequence_number) as i16;
        if packets <= 0 {
            self.seen.reordered += u64::from(packets < 0);
            self.seen.jumps_back += u64::from(packets < -REORDERED_PACKETS_MAX);
            return last.input.checked_add_signed(i64::from(packets));
        }
        let packets = i64::from(packets);
        let moved = timestamp.wrapping_sub(last.timestamp) as i32;
        let slots = i64::from(moved) / i64::from(self.timestamp_step);
        let passed = if marker && slots > packets {
            slots
        } else {
            self.seen.timestamp_slips += slots.abs_diff(packets);
            packets
        };
        let input = last.input.checked_add_signed(passed)?;
        self.last = Some(Last { sequence_number, timestamp, input });
        Some(input)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn outputs_in_order_answer_inputs_in_order_across_the_wrap() {
        let mut matcher = Matcher::new(160);
        for n in 0..10_u16 {
            let timestamp = u32::MAX.wrapping_add(160 * u32::from(n));
            let input = matcher.input_of(65_530_u16.wrapping_add(n), timestamp, n == 0);
            assert_eq!(input, Some(u64::from(n)));
        }
        assert_eq!(matcher.seen, Anomalies::default());
    }

    #[test]
    fn a_gap_in_the_sequence_numbers_is_a_gap_in_the_inputs() {
        let mut matcher = Matcher::new(160);
        matcher.input_of(10, 0, true);
        assert_eq!(matcher.input_of(13, 480, false), Some(3));
        assert_eq!(matcher.seen.timestamp_slips, 0);
    }

    #[test]
    fn a_timestamp_that_slips_is_counted_and_not_followed() {
        let mut matcher = Matcher::new(160);
        matcher.input_of(10, 0, true);
        assert_eq!(matcher.input_of(12, 160, false), Some(2));
        assert_eq!(matcher.input_of(13, 320, false), Some(3));
        assert_eq!(matcher.seen.timestamp_slips, 1);
    }

    #[test]
    fn a_pause_before_a_talkspurt_is_time_that_passed() {
        let mut matcher = Matcher::new(960);
        matcher.input_of(10, 0, true);
        assert_eq!(matcher.input_of(11, 5 * 960, true), Some(5));
        assert_eq!(matcher.seen, Anomalies::default());
    }

    #[test]
    fn a_late_output_answers_its_own_input_and_moves_nothing() {
        let mut matcher = Matcher::new(160);
        matcher.input_of(10, 0, true);
        assert_eq!(matcher.input_of(12, 320, false), Some(2));
        assert_eq!(matcher.input_of(11, 160, false), Some(1));
        assert_eq!(matcher.input_of(13, 480, false), Some(3));
        assert_eq!(matcher.input_of(13, 480, false), Some(3), "a duplicate answers the same");
        assert_eq!(matcher.input_of(8, 0, false), None, "of before the first");
        assert_eq!(matcher.seen.reordered, 2);
        assert_eq!(matcher.seen.jumps_back, 0);
    }

    #[test]
    fn an_output_of_long_ago_is_a_jump_back() {
        let mut matcher = Matcher::new(160);
        for n in 0..300_u16 {
            matcher.input_of(n, 160 * u32::from(n), false);
        }
        assert_eq!(matcher.input_of(172, 160 * 172, false), Some(172));
        assert_eq!(matcher.seen.jumps_back, 1);
    }
}
