//! A browser's INVITE, as it comes over WSS: for whoever measures.

/// Chromium's offer, as JsSIP sends it.
pub const BROWSER_OFFER: &str =
    include_str!("../../tests/samples/chromium-jssip-out_quality-browser-offer.sdp");

/// JsSIP's header fields around Chromium's offer.
pub fn browser_invite() -> Vec<u8> {
    let body = BROWSER_OFFER;
    let head = format!(
        "INVITE sip:+442079460018@example.com SIP/2.0\r\n\
         Via: SIP/2.0/WSS 9d2a7h5k1l0p.invalid;branch=z9hG4bK8263911\r\n\
         Max-Forwards: 69\r\n\
         To: <sip:+442079460018@example.com>\r\n\
         From: \"1001\" <sip:1001@example.com>;tag=3mq2d5s9u0\r\n\
         Call-ID: 1d7k2l9vqps3e6m1tn0c\r\n\
         CSeq: 2 INVITE\r\n\
         Proxy-Authorization: Digest algorithm=MD5, username=\"1001\", realm=\"example.com\", \
         nonce=\"00000000000186a0d2f1a3b4c5d6e7f80123456789abcdef0123456789abcdef\", \
         uri=\"sip:+442079460018@example.com\", response=\"6629fae49393a05397450978507c4ef1\", \
         qop=auth, cnonce=\"k2v9q0s1m3n4\", nc=00000001\r\n\
         Contact: <sip:x8u2m1ka@9d2a7h5k1l0p.invalid;transport=ws;ob>\r\n\
         Content-Type: application/sdp\r\n\
         Session-Expires: 90\r\n\
         Allow: INVITE,ACK,CANCEL,BYE,UPDATE,MESSAGE,OPTIONS,REFER,INFO,NOTIFY\r\n\
         Supported: timer,ice,replaces,outbound\r\n\
         User-Agent: JsSIP 3.10.1\r\n\
         Content-Length: {}\r\n\r\n",
        body.len()
    );
    [head.as_bytes(), body.as_bytes()].concat()
}
