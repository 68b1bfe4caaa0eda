//! The text of help and man pages beyond the command line: exit codes, keys and examples.

use clap::{Command, CommandFactory};

use crate::args::Args;

/// A section of a page: its heading and its lines.
pub type Section = (&'static str, &'static str);

const EXIT_CODES: Section = (
    "Exit codes",
    "\
0  done, nothing is wrong
1  a problem was found, or a claim is held elsewhere
2  wrong usage
3  the segment cannot be opened or read",
);
const COLOURS: Section =
    ("Environment", "Colours are used on a terminal only, and never if NO_COLOR is set or TERM is dumb.");

/// The sections of a command, by name; the name `seqcast` gives the sections of the main page.
pub fn sections(command: &str) -> Vec<Section> {
    let of_command: &[Section] = match command {
        "ls" => &[(
            "Examples",
            "seqcast ls\nseqcast ls --format json | jq -r '.segments[] | select(.state != \"ok\").name'",
        )],
        "inspect" => &[("Examples", "seqcast inspect my-server\nseqcast inspect my-server --layout")],
        "top" => &[
            ("Keys", crate::top::KEYS),
            (
                "Examples",
                "seqcast top my-server\nseqcast top my-server --sort failed\nseqcast top --pid 4711\n\
                 seqcast top my-server --once --format json",
            ),
        ],
        "tail" => &[(
            "Examples",
            "seqcast tail my-server\nseqcast tail my-server --source cache --payload utf8\n\
             seqcast tail my-server --from oldest --no-follow --format json",
        )],
        "post" => &[
            (
                "Exit codes",
                "\
0  posted
1  not posted: KEY is held, so no worker would run the event
2  wrong usage, or a value that the bus refuses
3  the segment cannot be opened",
            ),
            (
                "Examples",
                "seqcast post my-server cache stale --data user:42\n\
                 seqcast post my-server jobs nightly --unique nightly --ttl 10m",
            ),
        ],
        "claim" => &[
            (
                "Exit codes",
                "\
COMMAND's own; 128 + N if signal N ended it
1    the key is held elsewhere (-E sets another code), or there is no room for it
2    wrong usage
3    the segment cannot be opened
126  COMMAND cannot be run
127  COMMAND does not exist",
            ),
            (
                "Examples",
                "seqcast claim my-server nightly --ttl 1h -- backup --all\n\
                 seqcast claim my-server hourly --ttl 1h --keep -- report\n\
                 seqcast claim my-server deploy --ttl 10m --wait 5m -- ./deploy",
            ),
        ],
        "claims" => &[
            (
                "Exit codes",
                "0  done\n1  KEY was given and is not held\n2  wrong usage\n3  the segment cannot be opened or read",
            ),
            ("Examples", "seqcast claims my-server\nseqcast claims my-server nightly && echo it runs"),
        ],
        "release" => &[
            (
                "Exit codes",
                "0  released\n1  KEY is not held, or its holder lives\n2  wrong usage\n\
                 3  the segment cannot be opened",
            ),
            ("Examples", "seqcast release my-server nightly"),
        ],
        "retained" => &[
            (
                "Exit codes",
                "\
0  done
1  --key was given and nothing is retained under it
2  wrong usage
3  the segment cannot be opened or read",
            ),
            (
                "Examples",
                "seqcast retained my-server\nseqcast retained my-server --source upstream --payload utf8\n\
                 seqcast retained my-server --key 17 --format json",
            ),
        ],
        "doctor" => &[("Examples", "seqcast doctor\nseqcast doctor my-server --fix")],
        "rm" => &[("Examples", "seqcast rm my-server")],
        "metrics" => &[("Examples", "seqcast metrics my-server\nseqcast metrics my-server --listen 127.0.0.1:9464")],
        "relay" => &[
            (
                "Exit codes",
                "\
0  stopped
2  wrong usage, or seqcast-relay is not installed
3  the segment or its place for a relay is not available
4  another process has registered for the same segment
5  the server refuses this user",
            ),
            (
                "Examples",
                "seqcast relay my-server --redis-file /etc/seqcast/url --source cache\nseqcast relay status my-server",
            ),
        ],
        "completions" => &[(
            "Examples",
            "source <(seqcast completions bash)        # in ~/.bashrc\n\
             source <(seqcast completions zsh)         # in ~/.zshrc\n\
             seqcast completions fish | source         # in ~/.config/fish/config.fish",
        )],
        "man" => &[("Examples", "seqcast man top | man -l -\nseqcast man --dir ~/.local/share/man/man1")],
        _ => &[("Examples", "seqcast ls\nseqcast top my-server\nseqcast doctor")],
    };
    let has_codes = of_command.iter().any(|(heading, _)| *heading == EXIT_CODES.0);
    let codes = (!has_codes).then_some(EXIT_CODES);
    codes.into_iter().chain(of_command.iter().copied()).chain([COLOURS]).collect()
}

/// The command line, with the sections at the end of each help.
pub fn command() -> Command {
    let names: Vec<String> = Args::command().get_subcommands().map(|command| command.get_name().to_owned()).collect();
    let seqcast = names.iter().fold(Args::command(), |seqcast, name| {
        seqcast.mut_subcommand(name, |command| command.after_long_help(text(sections(name))))
    });
    seqcast.after_long_help(text(sections("seqcast")))
}

fn text(sections: Vec<Section>) -> String {
    let indented = |text: &str| text.lines().map(|line| format!("  {line}\n")).collect::<String>();
    let sections: Vec<String> =
        sections.into_iter().map(|(heading, text)| format!("{heading}:\n{}", indented(text))).collect();
    sections.join("\n").trim_end().to_owned()
}

/// The sections as roff, for a man page.
pub fn roff(sections: Vec<Section>) -> String {
    let mut page = String::new();
    for (heading, text) in sections {
        page.push_str(&format!(".SH {}\n.nf\n", heading.to_uppercase()));
        for line in text.lines() {
            let line = line.replace('\\', "\\e").replace('-', "\\-");
            // Such a line would be a request.
            let guard = if line.starts_with(['.', '\'']) { "\\&" } else { "" };
            page.push_str(&format!("{guard}{line}\n"));
        }
        page.push_str(".fi\n");
    }
    page
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_exit_codes_and_examples_that_it_takes() {
        let seqcast = command();
        for name in seqcast.get_subcommands().map(Command::get_name).chain(["seqcast"]) {
            let sections = sections(name);
            let of = |wanted: &str| sections.iter().filter(|(heading, _)| *heading == wanted).count();
            assert_eq!((of("Exit codes"), of("Examples")), (1, 1), "{name}");
            let (_, examples) = sections.iter().find(|(heading, _)| *heading == "Examples").unwrap();
            for example in examples.lines() {
                let words = example.split(" | ").next().unwrap().split(" && ").next().unwrap();
                let words = words.split_once('#').map_or(words, |(words, _)| words).trim();
                let words = words.strip_prefix("source <(").and_then(|words| words.strip_suffix(')')).unwrap_or(words);
                let parsed = command().try_get_matches_from(words.split_whitespace());
                assert!(parsed.is_ok(), "{example}: {parsed:?}");
            }
        }
    }

    #[test]
    fn lines_of_a_man_page_are_text_and_no_requests() {
        let page = roff(vec![("Keys", ".x\n'y\na\\b --c")]);
        assert_eq!(page, ".SH KEYS\n.nf\n\\&.x\n\\&'y\na\\eb \\-\\-c\n.fi\n");
    }
}
