//! NGINX in front of single processes, with a folder of its own and nothing of the system's.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use tempfile::TempDir;

use crate::program::Program;

/// Whether NGINX keeps its connections to the processes behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Upstream {
    /// A new one for each request: as it comes.
    Close,
    KeepAlive,
}

/// How it is run.
#[derive(Clone, Debug)]
pub(crate) struct Setup<'a> {
    pub(crate) nginx: PathBuf,
    pub(crate) upstream: Upstream,
    pub(crate) port: u16,
    pub(crate) behind: &'a [u16],
}

/// An NGINX that runs. Its folder goes when it does.
#[derive(Debug)]
pub(crate) struct Nginx {
    // Dropped before the folder, and so ended before.
    pub(crate) program: Program,
    folder: TempDir,
}

impl Nginx {
    pub(crate) fn start(setup: &Setup<'_>) -> Result<Self> {
        let folder = TempDir::with_prefix("nginx-").context("failed to make a folder for NGINX")?;
        let file = folder.path().join("nginx.conf");
        std::fs::write(&file, setup.configuration()).context("failed to configure NGINX")?;
        let mut command = Command::new(&setup.nginx);
        command.arg("-p").arg(folder.path()).arg("-c").arg(file).args(["-e", "stderr"]);
        Ok(Self { program: Program::start(&mut command)?, folder })
    }

    /// What is left to be done when the program has been stopped.
    pub(crate) fn into_program(self) -> (Program, TempDir) {
        (self.program, self.folder)
    }
}

impl Setup<'_> {
    /// What people write: as many workers as cores, and no log of accesses. Paths are relative
    /// to its folder.
    fn configuration(&self) -> String {
        let server = |port: &u16| format!("        server 127.0.0.1:{port};\n");
        let servers: String = self.behind.iter().map(server).collect();
        let (kept, proxy) = match self.upstream {
            Upstream::Close => ("", ""),
            Upstream::KeepAlive => (
                "        keepalive 64;\n",
                "            proxy_http_version 1.1;\n            proxy_set_header Connection \"\";\n",
            ),
        };
        let port = self.port;
        format!(
            "\
daemon off;
pid nginx.pid;
error_log stderr warn;
worker_processes auto;
worker_rlimit_nofile 8192;
events {{
    worker_connections 4096;
}}
http {{
    access_log off;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream workers {{
{servers}{kept}    }}
    server {{
        listen 127.0.0.1:{port} backlog=4096;
        location / {{
            proxy_pass http://workers;
{proxy}        }}
    }}
}}
"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn configuration(upstream: Upstream) -> String {
        let setup = Setup { nginx: "nginx".into(), upstream, port: 80, behind: &[81, 82] };
        setup.configuration()
    }

    #[test]
    fn connections_behind_are_kept_only_if_wanted() {
        let (close, keep) = (configuration(Upstream::Close), configuration(Upstream::KeepAlive));
        assert!(!close.contains("keepalive") && !close.contains("Connection"), "{close}");
        assert!(keep.contains("keepalive 64;\n    }\n"), "{keep}");
        assert!(keep.contains("server 127.0.0.1:81;\n        server 127.0.0.1:82;\n"), "{keep}");
    }
}
