use super::*;

fn play(sound: &mut Sound, samples: usize) -> Vec<i16> {
    let mut pcm = vec![1; samples];
    // As it is played: packet by packet, of a length that no beat is a multiple of.
    for packet in pcm.chunks_mut(240) {
        assert_eq!(sound.fill(packet), packet.len());
    }
    pcm
}

/// What a sound that ends brings until then.
fn play_to_end(mut sound: Sound) -> Vec<i16> {
    let mut pcm = Vec::new();
    loop {
        let mut packet = [1; 160];
        let filled = sound.fill(&mut packet);
        pcm.extend_from_slice(&packet[..filled]);
        assert!(packet[filled..].iter().all(|sample| *sample == 0));
        if filled < packet.len() {
            assert_eq!(sound.fill(&mut packet), 0, "it stays over");
            return pcm;
        }
    }
}

fn tone(hz: &[u16], on_off_ms: &[(u16, u16)], level_dbov: i8, times: Times) -> Sound {
    Sound::tone(Tone { hz, on_off_ms, level_dbov }, times)
}

fn root_mean_square(pcm: &[i16]) -> f64 {
    let energy: f64 = pcm.iter().map(|sample| f64::from(*sample).powi(2)).sum();
    (energy / pcm.len() as f64).sqrt()
}

fn level_dbov(pcm: &[i16]) -> f64 {
    20.0 * (root_mean_square(pcm) / 32_768.0).log10()
}

/// The share of the energy that lies at a frequency.
fn share_at(pcm: &[i16], hz: u16) -> f64 {
    let (mut i, mut q, mut all) = (0.0, 0.0, 0.0);
    for (n, sample) in pcm.iter().enumerate() {
        let (sine, cosine) = (TAU * f64::from(hz) * n as f64 / 8_000.0).sin_cos();
        let sample = f64::from(*sample);
        (i, q, all) = (i + sample * cosine, q + sample * sine, all + sample * sample);
    }
    2.0 * (i * i + q * q) / (pcm.len() as f64 * all)
}

#[test]
fn a_tone_has_its_frequencies_in_equal_parts_and_its_level() {
    for hz in [&[425][..], &[440, 480], &[50, 1_000, 3_800], &[350, 440, 620, 2_000]] {
        for level in [-60, -40, -20, -10] {
            let pcm = play(&mut tone(hz, &[(60_000, 0)], level, Times::ForEver), 80_000);
            assert!((level_dbov(&pcm) - f64::from(level)).abs() < 0.3, "{hz:?} {level}");
            if level > -60 {
                for one in hz {
                    let share = share_at(&pcm, *one) * hz.len() as f64;
                    assert!((share - 1.0).abs() < 0.02, "{hz:?} at {one}: {share}");
                }
            }
        }
    }
}

#[test]
fn a_level_that_does_not_fit_is_as_loud_as_can_be_and_not_clipped() {
    for hz in [&[400][..], &[400, 450], &[350, 440, 620, 2_000]] {
        let pcm = play(&mut tone(hz, &[(1_000, 0)], 0, Times::ForEver), 8_000);
        let loudest = pcm.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
        assert!((20_000..=32_767).contains(&loudest), "{hz:?} {loudest}");
        // A sine that is cut off by 3 dB has a hundredth of its energy at other frequencies.
        let share: f64 = hz.iter().map(|one| share_at(&pcm, *one)).sum();
        assert!(share > 0.997, "{hz:?} {share}");
    }
}

#[test]
fn a_cadence_is_on_and_off_when_it_should_be() {
    let british = [(400, 200), (400, 2_000)];
    let pcm = play(&mut tone(&[400, 450], &british, -20, Times::ForEver), 10 * 24_000);
    let sounds_at = |ms: usize| root_mean_square(&pcm[ms * 8..(ms + 40) * 8]) > 300.0;
    for ms in (0..29_960).step_by(10) {
        match ms % 3_000 {
            // Within the beats of two frequencies 50 Hz apart there is a null every 20 ms.
            5..355 | 605..955 => assert!(sounds_at(ms), "{ms}"),
            400..560 | 1_000..2_960 => {
                assert!(pcm[ms * 8..(ms + 40) * 8].iter().all(|sample| *sample == 0), "{ms}");
            }
            _ => {}
        }
    }
}

#[test]
fn a_tone_begins_and_ends_without_a_click() {
    let loud = tone(&[1_000], &[(100, 100)], -6, Times::Of(3));
    let pcm = play_to_end(loud);
    let amplitude = 32_768.0 * 10_f64.powf(-6.0 / 20.0) * 2_f64.sqrt();
    // Within a sine of 1 kHz two samples differ by 0.77 of the amplitude at most.
    let steps: Vec<_> =
        pcm.windows(2).map(|pair| f64::from(pair[1]) - f64::from(pair[0])).collect();
    assert!(steps.iter().all(|step| step.abs() < 0.8 * amplitude));
    for beat in 0..3 {
        let (begins, ends) = (beat * 1_600, beat * 1_600 + 800);
        for edge in [&pcm[begins..begins + 8], &pcm[ends - 8..ends]] {
            let most = edge.iter().map(|sample| sample.unsigned_abs()).max().unwrap();
            assert!(f64::from(most) < 0.25 * amplitude, "{most} within 1 ms of the edge");
        }
    }
}

#[test]
fn a_tone_that_is_never_off_goes_on_without_a_seam() {
    for times in [Times::ForEver, Times::Of(50)] {
        let pcm = play(&mut tone(&[425], &[(20, 0)], -20, times), 7_920);
        for ms in (10..970).step_by(10) {
            let level = level_dbov(&pcm[ms * 8..(ms + 20) * 8]);
            assert!((level + 20.0).abs() < 1.0, "{level} at {ms} ms");
        }
    }
    assert_eq!(play_to_end(tone(&[425], &[(20, 0)], -20, Times::Of(50))).len(), 8_000);
}

#[test]
fn what_is_repeated_lasts_so_often_as_long() {
    for times in [1, 2, 7] {
        let pcm = play_to_end(tone(&[400], &[(30, 17), (21, 40)], -20, Times::Of(times)));
        assert_eq!(pcm.len(), usize::from(times) * (30 + 17 + 21 + 40) * 8);
        let recording = Recording::new([5_i16, 6, 7]).unwrap();
        let pcm = play_to_end(Sound::recording(recording, Times::Of(times)));
        assert_eq!(pcm, [5, 6, 7].repeat(times.into()));
    }
}

#[test]
fn a_recording_goes_on_for_ever_if_asked_to() {
    let mut sound = Sound::recording(Recording::new([1_i16, 2]).unwrap(), Times::ForEver);
    assert_eq!(play(&mut sound, 10_001)[9_998..], [1, 2, 1]);
    let mut speech = Sound::recording(
        Recording::new(crate::audio::synthetic::speech(8_000)).unwrap(),
        Times::ForEver,
    );
    let first = play(&mut speech, 8_000);
    assert_eq!(first, play(&mut speech, 8_000));
}

#[test]
fn silence_never_ends() {
    let mut sound = Sound::silence();
    assert!(play(&mut sound, 80_000).iter().all(|sample| *sample == 0));
}

#[test]
fn a_recording_of_nothing_is_none() {
    assert!(Recording::new(Vec::new()).is_none());
    let recording = Recording::new(vec![0; 8_004]).unwrap();
    assert_eq!((recording.duration_ms(), recording.size_bytes()), (1_000, 16_008));
}
