use rand::RngExt;

use super::*;
use crate::base::random;

/// A file as sound editors write it; chunks of other kinds stand before and behind.
fn file(format: &[u8], audio: &[u8]) -> Vec<u8> {
    let chunk = |name: &[u8; 4], bytes: &[u8]| {
        let mut chunk = name.to_vec();
        chunk.extend((bytes.len() as u32).to_le_bytes());
        chunk.extend(bytes);
        chunk.resize(chunk.len().next_multiple_of(2), 0);
        chunk
    };
    let chunks = [
        chunk(b"LIST", b"INFO!"),
        chunk(b"fmt ", format),
        chunk(b"fact", &[0; 4]),
        chunk(b"data", audio),
        chunk(b"LIST", b"after"),
    ]
    .concat();
    [b"RIFF", &(chunks.len() as u32 + 4).to_le_bytes()[..], b"WAVE", &chunks].concat()
}

fn format(tag: u16, channels: u16, rate: u32, bits: u16) -> Vec<u8> {
    let frame = channels * bits / 8;
    let mut format = Vec::new();
    format.extend(tag.to_le_bytes());
    format.extend(channels.to_le_bytes());
    format.extend(rate.to_le_bytes());
    format.extend((rate * u32::from(frame)).to_le_bytes());
    format.extend(frame.to_le_bytes());
    format.extend(bits.to_le_bytes());
    format
}

fn bytes(pcm: &[i16]) -> Vec<u8> {
    pcm.iter().flat_map(|sample| sample.to_le_bytes()).collect()
}

#[test]
fn every_coding_is_read() {
    let pcm = [0, 1, -1, 256, i16::MIN, i16::MAX, 7];
    assert_eq!(read(&file(&format(PCM, 1, 8_000, 16), &bytes(&pcm))).unwrap(), pcm);
    for (tag, law) in [(A_LAW, Law::A), (MU_LAW, Law::Mu)] {
        let codes: Vec<u8> = (0..=255).collect();
        let mut expected = [0; 256];
        g711::decode(law, &codes, &mut expected);
        // A size of the extension, which is empty, follows where the coding is not PCM.
        let format = [format(tag, 1, 8_000, 8), vec![0, 0]].concat();
        assert_eq!(read(&file(&format, &codes)).unwrap(), expected);
        assert_eq!(read(&file(&format, &codes[..3])).unwrap(), expected[..3], "an odd size");
    }
}

#[test]
fn a_format_that_is_extensible_is_what_its_sub_format_says() {
    let mut extensible = format(EXTENSIBLE, 1, 8_000, 16);
    extensible.extend([22, 0, 16, 0, 4, 0, 0, 0]);
    extensible.extend([1, 0, 0, 0, 0, 0, 0x10, 0, 0x80, 0, 0, 0xAA, 0, 0x38, 0x9B, 0x71]);
    assert_eq!(read(&file(&extensible, &bytes(&[3, 4]))).unwrap(), [3, 4]);
    extensible.truncate(SUB_FORMAT_OFFSET);
    assert_eq!(read(&file(&extensible, &bytes(&[3, 4]))), Err(BadWav::Truncated));
}

#[test]
fn what_is_not_understood_is_named() {
    let audio = bytes(&[1, 2, 3]);
    let refused = |format: &[u8]| read(&file(format, &audio)).unwrap_err();
    assert_eq!(refused(&format(PCM, 2, 8_000, 16)), BadWav::Channels(2));
    assert_eq!(refused(&format(PCM, 1, 44_100, 16)), BadWav::Rate(44_100));
    assert_eq!(refused(&format(PCM, 1, 8_000, 8)), BadWav::Coding(PCM, 8));
    assert_eq!(refused(&format(3, 1, 8_000, 32)), BadWav::Coding(3, 32));
    assert_eq!(refused(&format(0x55, 1, 8_000, 0)), BadWav::Coding(0x55, 0));
    assert_eq!(refused(&format(PCM, 1, 8_000, 16)[..15]), BadWav::Truncated);
    assert_eq!(refused(&[]), BadWav::Truncated);
    let good = format(PCM, 1, 8_000, 16);
    assert_eq!(read(&file(&good, &[])), Err(BadWav::NoAudio));
    assert_eq!(read(&file(&good, &[1])), Err(BadWav::NoAudio));
    assert_eq!(read(b"ID3 and so on, an MP3"), Err(BadWav::NotWav));
    assert_eq!(read(b"RIFF\x04\0\0\0AVI "), Err(BadWav::NotWav));
    assert_eq!(read(b""), Err(BadWav::NotWav));
    assert_eq!(read(b"RIFF\x04\0\0\0WAVE"), Err(BadWav::NoFormat));
    assert_eq!(read(b"RIFF\x04\0\0\0WAVEdata\x02\0\0\0\x01\x02"), Err(BadWav::NoFormat));
}

#[test]
fn the_longest_is_read_and_a_sample_more_is_refused() {
    let ulaw = format(MU_LAW, 1, 8_000, 8);
    let mut audio = vec![0xFF; SAMPLES_MAX];
    assert_eq!(read(&file(&ulaw, &audio)).unwrap().len(), SAMPLES_MAX);
    audio.push(0xFF);
    assert_eq!(read(&file(&ulaw, &audio)), Err(BadWav::TooLong));
    assert!(file(&format(PCM, 1, 8_000, 16), &vec![0; 2 * SAMPLES_MAX]).len() < FILE_BYTES_MAX);
}

#[test]
fn audio_whose_size_was_never_written_goes_to_the_end() {
    let mut file = file(&format(PCM, 1, 8_000, 16), &bytes(&[5, 6, 7]));
    let size = file.windows(4).position(|four| four == b"data").unwrap() + 4;
    for unknown in [u32::MAX, 0x7FFF_FFFF] {
        file[size..size + 4].copy_from_slice(&unknown.to_le_bytes());
        file.truncate(size + 4 + 5);
        assert_eq!(read(&file).unwrap(), [5, 6]);
    }
}

#[test]
fn no_file_that_is_cut_off_or_changed_makes_it_stumble() {
    let mut random = random::from_seed(1);
    let whole = file(&format(PCM, 1, 8_000, 16), &bytes(&[1, 2, 3]));
    for end in 0..whole.len() {
        let _ = read(&whole[..end]);
    }
    for _ in 0..100_000 {
        let mut changed = whole.clone();
        for _ in 0..random.random_range(1..4) {
            let place = random.random_range(0..changed.len());
            changed[place] = random.random();
        }
        if let Ok(pcm) = read(&changed) {
            assert!((1..=whole.len()).contains(&pcm.len()));
        }
    }
}
