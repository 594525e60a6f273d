//! Configuration files for the client of a [`World`], as an operator would have written them.

use std::fs;

use unanimity_config::HookSettings;
use unanimity_net::Mirror;

use crate::{TestError, World};

impl World {
    /// Writes `client/unanimity.toml`, `client/peers.toml`, and the log's public key in `log.pub`.
    pub fn write_config(&self) -> Result<(), TestError> {
        let key = format!("{}\n", self.keys.log.key);
        for (file, text) in [
            ("client/unanimity.toml", &self.unanimity_toml()),
            ("client/peers.toml", &self.peers_toml()),
            ("log.pub", &key),
        ] {
            // A copy of this world may share the old file, so the file is replaced, not modified.
            fs::remove_file(self.directory.join(file)).ok();
            fs::write(self.directory.join(file), text)?;
        }
        Ok(())
    }

    fn unanimity_toml(&self) -> String {
        let (config, log) = (&self.config, &self.keys.log);
        let policy = &config.cycle.policy;
        let keys: Vec<String> =
            policy.publishers().iter().map(|key| format!("    \"{key}\",\n")).collect();
        // HTTP hosts exist only in the memory of this process, so the file names the directory.
        let directory = self.mirror("client");
        let mirrors = self.mirrors.iter().map(Mirror::to_string);
        let mirrors: Vec<String> = mirrors
            .map(|mirror| if mirror.starts_with("file:") { mirror } else { directory.to_string() })
            .map(|mirror| format!("\"{mirror}\""))
            .collect();
        let spool = config.cycle.spool.as_ref();
        let spool = spool.map_or(String::new(), |spool| format!("spool = {:?}\n", spool.directory));
        let HookSettings { pre_install, handover, post_install, on_success, check, .. } =
            &config.cycle.hooks;
        let line = |(name, command): (&str, &Vec<String>)| match command.is_empty() {
            true => String::new(),
            false => format!("{name} = {command:?}\n"),
        };
        let commands = [
            ("pre_install", pre_install),
            ("handover", handover),
            ("post_install", post_install),
            ("on_success", on_success),
        ];
        let commands: String = commands.map(line).concat();
        let health = match check.is_empty() {
            true => String::new(),
            false => format!("\n[install.health]\n{}", line(("check", check))),
        };
        format!(
            "[product]\nname = \"{}\"\nchannel = \"{}\"\n\n\
             [publisher]\nthreshold = {}\nkeys = [\n{}]\n\n\
             [log]\norigin = \"{}\"\nkey = \"{}\"\nmirrors = [{}]\n\n\
             [install]\nroot = \"hello\"\nstate = \"state\"\n{spool}{commands}{health}\n\
             # These peers existed only in the demo's memory.\n[tor]\noffline = true\n",
            policy.product,
            policy.channel,
            policy.threshold(),
            keys.concat(),
            log.origin,
            log.key,
            mirrors.join(", "),
        )
    }

    fn peers_toml(&self) -> String {
        let mut peers = String::from("min_peers = 3\n");
        for peer in &self.config.peers {
            let address = &self.config.addresses[&peer.key.raw()];
            let (name, operator, key) = (&peer.name, &peer.operator, &peer.key);
            peers += &format!(
                "\n[[peer]]\nname = \"{name}\"\noperator = \"{operator}\"\n\
                 address = \"{address}\"\nkey = \"{key}\"\n"
            );
        }
        peers
    }
}
