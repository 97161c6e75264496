//! An Opus encoder as a browser runs it: 48 kHz, fullband. The product has none, so the bench asks
//! the codec library itself.
#![allow(unsafe_code)] // the library's C interface

use std::ffi::c_int;
use std::ptr::NonNull;

use audiopus::ffi;

/// Settings of Chromium's encoder for one voice.
const SETTINGS: [(c_int, c_int); 6] = [
    (ffi::OPUS_SET_BITRATE_REQUEST, 32_000),
    (ffi::OPUS_SET_COMPLEXITY_REQUEST, 9),
    (ffi::OPUS_SET_BANDWIDTH_REQUEST, ffi::OPUS_BANDWIDTH_FULLBAND),
    (ffi::OPUS_SET_SIGNAL_REQUEST, ffi::OPUS_SIGNAL_VOICE),
    (ffi::OPUS_SET_INBAND_FEC_REQUEST, 1),
    (ffi::OPUS_SET_PACKET_LOSS_PERC_REQUEST, 0),
];

/// Encodes one voice at 48 kHz.
pub struct FullbandEncoder(NonNull<ffi::OpusEncoder>);

impl FullbandEncoder {
    pub fn new() -> Self {
        let mut error = 0;
        // SAFETY: `error` outlives the call.
        let state = unsafe {
            ffi::opus_encoder_create(48_000, 1, ffi::OPUS_APPLICATION_VOIP, &raw mut error)
        };
        let state = NonNull::new(state).expect("memory for an encoder");
        for (request, value) in SETTINGS {
            // SAFETY: the state is initialised; each of these requests takes one `opus_int32`.
            let result = unsafe { ffi::opus_encoder_ctl(state.as_ptr(), request, value) };
            assert_eq!(result, ffi::OPUS_OK, "request {request}");
        }
        Self(state)
    }

    /// Encodes 960 samples.
    pub fn encode(&mut self, pcm: &[i16]) -> Vec<u8> {
        assert_eq!(pcm.len(), 960);
        let mut payload = vec![0; 1_275];
        // SAFETY: the state is ours alone; both lengths are those of the slices.
        let length = unsafe {
            ffi::opus_encode(
                self.0.as_ptr(),
                pcm.as_ptr(),
                pcm.len() as c_int,
                payload.as_mut_ptr(),
                payload.len() as i32,
            )
        };
        payload.truncate(usize::try_from(length).expect("a frame of 20 ms is encoded"));
        payload
    }
}

impl Drop for FullbandEncoder {
    fn drop(&mut self) {
        // SAFETY: made by `opus_encoder_create` and freed once.
        unsafe { ffi::opus_encoder_destroy(self.0.as_ptr()) };
    }
}
