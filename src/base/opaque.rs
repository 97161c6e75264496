//! Types that are shown by their name alone: what they hold is what somebody says, a secret, or far more than
//! anybody reads.

/// Shows types by their names.
macro_rules! opaque {
    ($($type:ty),+) => {
        $(
            impl std::fmt::Debug for $type {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    let path = std::any::type_name::<Self>();
                    let path = path.split('<').next().unwrap_or(path);
                    let name = path.rsplit("::").next().unwrap_or(path);
                    f.debug_struct(name).finish_non_exhaustive()
                }
            }
        )+
    };
}

pub(crate) use opaque;

#[cfg(test)]
mod tests {
    struct Secret {
        _key: [u8; 2],
    }

    super::opaque!(Secret);

    #[test]
    fn the_name_is_shown_and_nothing_else() {
        assert_eq!(format!("{:?}", Secret { _key: [7; 2] }), "Secret { .. }");
    }
}
