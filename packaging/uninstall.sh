#!/bin/sh
# Removes what install.sh has put here. Data, keys, configuration and accounts stay; what is said at the end is where.
set -eu

TARGET=/opt/ddsd

if [ "$(id -u)" != 0 ]; then
    echo "uninstall.sh: run it as root" >&2
    exit 1
fi
if [ ! -e $TARGET/installed-files ]; then
    echo "uninstall.sh: there is nothing of ours in $TARGET" >&2
    exit 1
fi
if [ -d /run/systemd/system ]; then
    units="$(systemctl list-units --plain --no-legend --state=active,activating,reloading 'ddsd.service' 'ddsd@*.service' | cut -d ' ' -f 1)"
    [ -z "$units" ] || systemctl stop $units
    for link in /etc/systemd/system/*.wants/ddsd.service /etc/systemd/system/*.wants/ddsd@*.service; do
        [ ! -L "$link" ] || systemctl disable --quiet "${link##*/}" 2>/dev/null || rm -f "$link"
    done
fi
while read -r path; do rm -f "$path"; done <$TARGET/installed-files
rm -rf $TARGET
[ ! -d /run/systemd/system ] || systemctl daemon-reload
cat <<'WHERE'
ddsd is removed. Its data are still there:
    /var/lib/ddsd              database and objects, unless /etc/ddsd/ddsd.toml names other places
    /etc/ddsd                  the configuration
    /etc/credstore/ddsd.*      the instance key and other secrets
The accounts ddsd and ddsd-operators are left, too.
WHERE
