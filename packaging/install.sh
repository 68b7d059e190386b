#!/bin/sh
# Installs ddsd from this directory, without a network: ./install.sh as root. Again, or from a newer bundle: upgrades.
# Your configuration is never overwritten, data and keys are not touched, a running daemon is drained and started again.
set -eu
cd "$(dirname "$0")"

TARGET=/opt/ddsd
BEFORE=/opt/ddsd.before
INSTALLED=$TARGET/installed-files
UNFINISHED=/opt/ddsd.unfinished
STOPPED=/run/ddsd-upgrade
VERSION="$(cat VERSION)"

say() { printf '%s\n' "$*"; }
die() {
    printf 'install.sh: %s\n' "$*" >&2
    exit 1
}

check_the_machine() {
    command -v systemctl >/dev/null && command -v systemd-sysusers >/dev/null || die "this machine has no systemd"
    if command -v dpkg-query >/dev/null && dpkg-query --show --showformat '${db:Status-Status}' ddsd 2>/dev/null |
        grep -q '^installed'; then
        die "ddsd is installed as a Debian package: upgrade that one, or run apt-get remove ddsd first (it leaves the data)"
    fi
    [ ! -e $TARGET ] || [ -e $INSTALLED ] || die "$TARGET is there and is not ours: move it away"
    sha256sum --quiet --check SHA256SUMS || die "this directory is damaged: unpack the archive again"
}

find_python() {
    for python in python3.13 python3.12 python3.11 python3; do
        version="$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])' 2>/dev/null || true)"
        [ -n "$version" ] && [ -e "wheels/$version.sha256" ] && return
    done
    die "Python 3.11, 3.12 or 3.13 is needed, and none is on PATH"
}

# Puts back what was there before an installation that failed or was killed.
recover() {
    [ -e $UNFINISHED ] || return 0
    if [ -d $BEFORE ]; then
        rm -rf $TARGET
        mv $BEFORE $TARGET
    elif [ ! -e $INSTALLED ]; then
        rm -rf $TARGET
    fi
    rm -f $UNFINISHED
}

stop_what_runs() {
    were_running=
    [ -d /run/systemd/system ] || return 0
    # One that systemd is about to start again counts as running.
    units="$(systemctl list-units --plain --no-legend --state=active,activating,reloading 'ddsd.service' 'ddsd@*.service' |
        cut -d ' ' -f 1)"
    # Added, not overwritten: whoever was killed in here runs this again, and finds less running.
    [ -z "$units" ] || say "$units" >>$STOPPED
    [ ! -e $STOPPED ] || were_running="$(sort -u $STOPPED)"
    [ -z "$units" ] || systemctl stop $units
}

put_back() {
    status=$?
    [ $status = 0 ] && return
    trap '' HUP INT TERM
    recover
    if [ -e $INSTALLED ]; then
        [ -z "$were_running" ] || systemctl start $were_running || true
        rm -f $STOPPED
        say "install.sh: it failed; the version that was here before is in place again" >&2
    else
        say "install.sh: it failed; nothing is installed" >&2
    fi
}

make_environment() {
    rm -rf $BEFORE
    mkdir -p "$(dirname $UNFINISHED)"
    : >$UNFINISHED
    [ ! -d $TARGET ] || mv $TARGET $BEFORE
    umask 022
    "$python" environment.py wheels $TARGET
    $TARGET/bin/python -m compileall -q -j 0 -x /faker/ $TARGET/lib
    cp uninstall.sh VERSION $TARGET/
    chmod 755 $TARGET/uninstall.sh
    mkdir -p $TARGET/doc
    cp -R doc/. $TARGET/doc/
    : >$INSTALLED.new
}

# put MODE SOURCE TARGET
put() {
    install -D -m "$1" "$2" "$3"
    say "$3" >>$INSTALLED.new
}

link() {
    mkdir -p "$(dirname "$2")"
    ln -sfn "$1" "$2"
    say "$2" >>$INSTALLED.new
}

put_files() {
    for unit in systemd/*.service; do put 644 "$unit" "/etc/systemd/system/${unit#systemd/}"; done
    put 644 systemd/ddsd.sysusers /etc/sysusers.d/ddsd.conf
    put 644 systemd/ddsd.tmpfiles /etc/tmpfiles.d/ddsd.conf
    for page in man/*; do put 644 "$page" "/usr/local/share/man/man${page##*.}/${page#man/}"; done
    put 644 completions/bash/ddsctl /usr/local/share/bash-completion/completions/ddsctl
    put 644 completions/zsh/_ddsctl /usr/local/share/zsh/site-functions/_ddsctl
    put 644 completions/fish/ddsctl.fish /usr/local/share/fish/vendor_completions.d/ddsctl.fish
    for command in ddsd ddsctl; do link $TARGET/bin/$command /usr/local/bin/$command; done
    mv $INSTALLED.new $INSTALLED
}

make_accounts_and_directories() {
    systemd-sysusers /etc/sysusers.d/ddsd.conf
    if [ ! -e /etc/ddsd/ddsd.toml ]; then
        install -D -m 640 config/ddsd.toml /etc/ddsd/ddsd.toml
    elif ! cmp -s config/ddsd.toml /etc/ddsd/ddsd.toml; then
        cp config/ddsd.toml /etc/ddsd/ddsd.toml.new
        chmod 644 /etc/ddsd/ddsd.toml.new
        say "Your /etc/ddsd/ddsd.toml stays as it is; this version's reference is beside it, ddsd.toml.new"
    fi
    systemd-tmpfiles --create /etc/tmpfiles.d/ddsd.conf
}

start_again() {
    for unit in $were_running; do
        systemctl start "$unit" || {
            say "$unit did not start. The last that it said:"
            journalctl --unit "$unit" --lines 20 --output cat | grep '^ddsd: ' | tail -n 3 || true
            say "If the database must be brought up to date: make a backup, then run"
            say "    systemctl start ddsd-migrate && systemctl start $unit"
            say "More is in journalctl -u $unit"
        }
    done
    rm -f $STOPPED
}

[ "$(id -u)" = 0 ] || die "run it as root"
# One at a time; what is left of one that was killed holds it, too.
exec 9>/run/ddsd-install.lock
flock 9
recover
check_the_machine
find_python
trap put_back EXIT
trap 'exit 129' HUP
trap 'exit 130' INT
trap 'exit 143' TERM
stop_what_runs
say "Installing ddsd $VERSION for $python into $TARGET"
make_environment
put_files
make_accounts_and_directories
[ ! -d /run/systemd/system ] || systemctl daemon-reload
trap - EXIT
rm -f $UNFINISHED
first=yes
[ ! -d $BEFORE ] || first=no
rm -rf $BEFORE
start_again
say "ddsd $VERSION is installed. To remove it: $TARGET/uninstall.sh (it leaves the data)."
if [ $first = yes ]; then
    say "It is not started. What to do next: $TARGET/doc/docs/install.md"
fi
