//! Counts that are summed over all rounds.

/// Declares a struct of counts, with an `add` that adds each of another one's.
macro_rules! sums {
    ($(#[$attr:meta])* pub struct $name:ident { $($(#[$field_attr:meta])* pub $field:ident,)+ }) => {
        $(#[$attr])*
        #[derive(Clone, Copy, Debug, Default)]
        pub struct $name {
            $($(#[$field_attr])* pub $field: u64,)+
        }

        impl $name {
            pub fn add(&mut self, other: &$name) {
                $(self.$field += other.$field;)+
            }
        }
    };
}
pub(crate) use sums;
