# shellcheck shell=bash
# berthd as a service of systemd, set up as docs/operating.md says: the unit's limits leave it what it needs. It says when
# it is ready, a laptop pairs and backs up over the air, and it stops and starts without a loss.
# shellcheck source=SCRIPTDIR/../guest/programs disable=SC2154
. "$guest/programs"

# systemd, with nothing but what units need: buses and daemons are there already.
systemd() {
    local wanted
    mkdir -p /run/systemd/system
    for wanted in /lib/systemd/system/{sysinit,basic,sockets,timers,multi-user}.target.wants/* \
        /etc/systemd/system/*.wants/* dbus.socket dbus.service bluetooth.service wpa_supplicant.service; do
        ln -sf /dev/null "/run/systemd/system/${wanted##*/}"
    done
    mount -t cgroup2 cgroup2 /sys/fs/cgroup
    daemon systemd unshare --pid --mount --fork --mount-proc \
        env container=lab /lib/systemd/systemd --system --unit=basic.target
    within 60 is_up
}
systemctl() { nsenter --target "$(pgrep -x systemd)" --pid --mount systemctl "$@"; }
is_up() { systemctl is-active basic.target; }

# What the guide tells a person to do.
install_service() {
    local source=$guest/../../..
    useradd --system --user-group berth &&
        install -d -o berth -g berth -m 700 /srv/backup &&
        install -d /etc/berth /etc/systemd/system/berthd.service.d &&
        printf 'name = "desk"\nupstream = "/srv/backup"\nlog = "debug"\n' >/etc/berth/berthd.toml &&
        install "/host$(built debug/berthd)" "/host$(built debug/berthctl)" /usr/bin &&
        install -m 644 "$source/bridge/daemon/berthd.service" /etc/systemd/system &&
        install -m 644 "$source/bridge/daemon/berthd-dbus.conf" /etc/dbus-1/system.d/berthd.conf || return 1
    # There is no journal here.
    printf '[Service]\nStandardOutput=append:/out/berthd.log\nStandardError=inherit\n' \
        >/etc/systemd/system/berthd.service.d/log.conf
    busctl call org.freedesktop.DBus /org/freedesktop/DBus org.freedesktop.DBus ReloadConfig && systemctl daemon-reload
}
berthctl() { /usr/bin/berthctl --state /var/lib/berth "$@"; }
# The file, which has gone by then, is in the state folder, where the unit lets it be.
interface_is_given() {
    local interface
    interface=$(busctl get-property $WPA /fi/w1/wpa_supplicant1 $WPA Interfaces | paths | head -n 1) &&
        busctl get-property $WPA "$interface" $WPA.Interface ConfigFile | grep '/berth/wpa_supplicant.conf"'
}
# Of the one that runs or ran last.
told() { [ "$(systemctl show --property="$1" --value berthd)" = "$2" ]; }

fact "hub and laptop have their daemons" lab 2
fact "systemd runs" systemd
fact "the guide's set-up goes through" install_service
mkdir /run/hub/upstream /run/lap/files
mount --bind /srv/backup /run/hub/upstream
fact "the unit says that it is ready" systemctl start berthd
fact "wpa_supplicant has its interface from the unit, with a file" interface_is_given
fact "the laptop has its folder" berth folders add /run/lap/files
fact "they pair by the code" pair
new_file 5
fact "the laptop has backed up" berth backup
fact "the unit stops" systemctl stop berthd
fact "it has ended well" told Result success
fact "it starts again" systemctl start berthd
new_file 1
fact "the laptop has backed up again" berth backup
fact "restic finds it whole upstream" restic_agrees
fact "the unit was never started by itself" told NRestarts 0
fact "nothing of the visits is left" within 20 nothing_left
