use proptest::prelude::*;

use super::*;
use crate::media::format::LegFormat;

const RED: Abilities = Abilities { red: true, in_band_fec: true };
const FEC: Abilities = Abilities { red: false, in_band_fec: true };
const NEITHER: Abilities = Abilities { red: false, in_band_fec: false };
const ALL: [Abilities; 4] = [RED, FEC, NEITHER, Abilities { red: true, in_band_fec: false }];

const BUSY: Load = Load(0.8);
const FULL: Load = Load(0.95);
const SECOND: Duration = Duration::from_secs(1);
/// How often Chromium reports on audio.
const REPORT_INTERVAL: Duration = Duration::from_secs(5);

fn format(abilities: Abilities) -> SendFormat {
    let mut send = serde_json::json!({
        "codec": "opus", "payload_type": 111, "in_band_fec": abilities.in_band_fec,
    });
    if abilities.red {
        send["redundancy"] = serde_json::json!({"payload_type": 63});
    }
    let receive = serde_json::json!([{"codec": "opus", "payload_type": 111}]);
    let format = serde_json::json!({"send": send, "receive": receive});
    LegFormat::new(&serde_json::from_value(format).unwrap()).unwrap().sent
}

/// A leg's encoding under a virtual clock.
struct Leg {
    encoding: Encoding,
    now: Instant,
    load: Load,
}

impl Leg {
    fn new(abilities: Abilities, load: Load) -> Self {
        let encoding = Encoding::default().with_format(Some(&format(abilities)), load);
        Self { encoding, now: Instant::now(), load }
    }

    fn rung(&self) -> Rung {
        let name = self.encoding.name().unwrap();
        Rung::ALL.into_iter().find(|rung| rung.name() == name).unwrap()
    }

    /// A report a while after the one before; the rung then.
    fn report_after(&mut self, passed: Duration, percent: f64) -> Rung {
        self.now += passed;
        let before = self.rung();
        let fraction = (percent * 2.56).round().min(255.0) as u8;
        let change = self.encoding.report(fraction, self.load, self.now);
        assert_eq!(change, (self.rung() != before).then(|| self.rung().settings()));
        self.rung()
    }

    fn report(&mut self, percent: f64) -> Rung {
        self.report_after(REPORT_INTERVAL, percent)
    }

    /// Seconds of clean reports until the rung changes.
    fn changes_after(&mut self) -> u64 {
        let (begin, before) = (self.now, self.rung());
        while self.report_after(SECOND, 0.0) == before {
            assert!(self.now - begin < 2 * HOLD_MAX, "it never changes");
        }
        (self.now - begin).as_secs()
    }
}

#[test]
fn a_call_begins_protected_as_far_as_it_was_negotiated() {
    assert_eq!(Leg::new(RED, Load::NONE).rung(), Rung::CeltRed);
    assert_eq!(Leg::new(FEC, Load::NONE).rung(), Rung::SilkFec);
    assert_eq!(Leg::new(NEITHER, Load::NONE).rung(), Rung::Celt);
}

#[test]
fn on_a_busy_core_new_calls_begin_cheaply_and_old_ones_stay() {
    let mut old = Leg::new(FEC, Load::NONE);
    old.report(0.0);
    old.load = BUSY;
    assert_eq!(old.report(0.0), Rung::SilkFec);
    assert_eq!(Leg::new(FEC, BUSY).rung(), Rung::Celt);
    // RED costs the core nothing.
    assert_eq!(Leg::new(RED, BUSY).rung(), Rung::CeltRed);
}

#[test]
fn the_first_report_of_loss_brings_protection() {
    let mut with_red = Leg::new(RED, Load::NONE);
    with_red.changes_after();
    assert_eq!(with_red.rung(), Rung::Celt);
    assert_eq!(with_red.report(1.0), Rung::CeltRed);

    let mut with_fec = Leg::new(FEC, BUSY);
    assert_eq!(with_fec.report(1.0), Rung::SilkFec);
}

#[test]
fn a_single_packet_of_a_usual_report_is_no_reason() {
    let mut leg = Leg::new(FEC, BUSY);
    assert_eq!(leg.report(100.0 / 250.0), Rung::Celt);
}

#[test]
fn protection_goes_once_the_path_has_been_clean_for_the_hold() {
    let mut leg = Leg::new(RED, Load::NONE);
    leg.report(3.0);
    assert_eq!(leg.changes_after(), HOLD.as_secs());
    assert_eq!(leg.rung(), Rung::Celt);
}

#[test]
fn a_loss_now_and_then_keeps_the_protection() {
    let mut leg = Leg::new(RED, Load::NONE);
    for _ in 0..100 {
        assert_eq!(leg.report(2.0), Rung::CeltRed);
        assert_eq!(leg.report(0.0), Rung::CeltRed);
        assert_eq!(leg.report(0.0), Rung::CeltRed);
    }
}

#[test]
fn an_idle_core_keeps_fec_on_a_clean_path_and_a_busy_one_saves_it() {
    let mut idle = Leg::new(FEC, Load::NONE);
    let mut busy = Leg::new(FEC, Load::NONE);
    busy.load = BUSY;
    for _ in 0..10 {
        assert_eq!(idle.report(0.0), Rung::SilkFec);
        busy.report(0.0);
    }
    assert_eq!(busy.rung(), Rung::Celt);
}

#[test]
fn heavy_loss_halves_the_bits_of_red_and_comes_back_by_steps() {
    let mut leg = Leg::new(RED, Load::NONE);
    assert_eq!(leg.report(15.0), Rung::SilkRed);
    assert_eq!(leg.changes_after(), HOLD.as_secs());
    assert_eq!(leg.rung(), Rung::CeltRed);
    assert_eq!(leg.changes_after(), HOLD.as_secs());
    assert_eq!(leg.rung(), Rung::Celt);
}

#[test]
fn a_path_that_falls_back_soon_is_trusted_twice_as_late_and_no_later_than_the_bound() {
    let mut leg = Leg::new(RED, Load::NONE);
    leg.changes_after();
    let mut hold = HOLD.as_secs();
    for _ in 0..10 {
        leg.report(2.0);
        let next = leg.changes_after();
        assert_eq!(next, (2 * hold).min(HOLD_MAX.as_secs()));
        hold = next;
    }
    // One that held for long has earned it.
    leg.report_after(RELAPSE, 2.0);
    assert_eq!(leg.changes_after(), HOLD.as_secs());
}

#[test]
fn a_full_core_gives_nobody_a_dearer_rung_and_makes_up_for_it_later() {
    let mut leg = Leg::new(FEC, FULL);
    assert_eq!(leg.report(5.0), Rung::Celt);
    assert_eq!(leg.report(5.0), Rung::Celt);
    leg.load = BUSY;
    assert_eq!(leg.report(5.0), Rung::SilkFec);
    // And takes nothing away.
    leg.load = FULL;
    assert_eq!(leg.report(5.0), Rung::SilkFec);
    // RED is not dearer.
    let mut leg = Leg::new(RED, FULL);
    leg.changes_after();
    assert_eq!(leg.report(5.0), Rung::CeltRed);
    assert_eq!(leg.report(20.0), Rung::CeltRed);
}

#[test]
fn fixed_settings_stay_whatever_is_reported() {
    let settings = EncoderSettings { bit_rate: 12_345, ..EncoderSettings::default() };
    let mut format = format(RED);
    format.encoder = Some(settings);
    let mut encoding = Encoding::default().with_format(Some(&format), Load::NONE);
    for fraction in [0, 5, 100, 255] {
        assert_eq!(encoding.report(fraction, FULL, Instant::now()), None);
    }
    assert_eq!((encoding.settings(), encoding.name()), (settings, Some("fixed")));
    assert!(encoding.redundancy());
}

#[test]
fn another_format_keeps_what_is_known_of_the_path_and_drops_what_it_lacks() {
    let mut leg = Leg::new(RED, Load::NONE);
    leg.report(15.0);
    let change = |to| leg.encoding.with_format(Some(&format(to)), BUSY);
    assert_eq!(change(RED), leg.encoding);
    assert_eq!(change(FEC).name(), Some(Rung::SilkFec.name()));
    assert_eq!(change(NEITHER).name(), Some(Rung::Celt.name()));
    assert_eq!(leg.encoding.with_format(None, BUSY).name(), None);
}

#[test]
fn a_load_is_a_share() {
    assert_eq!([-1.0, f32::NAN, 0.4, 7.0].map(|share| Load::new(share).0), [0.0, 0.0, 0.4, 1.0]);
}

fn is_negotiated(rung: Rung, abilities: Abilities) -> bool {
    (abilities.red || !rung.redundancy()) && (abilities.in_band_fec || !rung.settings().fec)
}

proptest! {
    #[test]
    fn whatever_happens_the_rung_is_one_that_was_negotiated_and_does_not_flap(
        abilities in prop::sample::select(ALL.to_vec()),
        begin in 0.0_f32..1.0,
        steps in prop::collection::vec((0_u64..30, 0.0_f64..30.0, any::<bool>(), 0.0_f32..1.0), 1..200),
    ) {
        let mut leg = Leg::new(abilities, Load::new(begin));
        prop_assert!(is_negotiated(leg.rung(), abilities));
        let mut cheaper_at = None;
        for (seconds, percent, is_clean, load) in steps {
            leg.load = Load::new(load);
            let before = leg.rung();
            let percent = if is_clean { 0.0 } else { percent };
            let rung = leg.report_after(Duration::from_secs(seconds), percent);
            prop_assert!(is_negotiated(rung, abilities));
            if percent >= 1.0 && leg.load < Load::FULL {
                let can_protect = abilities.red || abilities.in_band_fec;
                prop_assert_eq!(rung == Rung::Celt, !can_protect);
            }
            if before != Rung::Celt && rung == Rung::Celt {
                prop_assert!(cheaper_at.is_none_or(|at| leg.now - at >= HOLD));
                cheaper_at = Some(leg.now);
            }
        }
    }
}
