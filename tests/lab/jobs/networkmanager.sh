# shellcheck shell=bash
# A laptop whose Wi-Fi is NetworkManager's, which ends Wi-Fi Direct groups that are not its own: so it has to lend the
# adapter for a visit. Afterwards the laptop is on its own network again, also when berth was killed in the middle, and
# even if NetworkManager does not connect to that network by itself.
# shellcheck source=SCRIPTDIR/../guest/programs disable=SC2154
. "$guest/programs"

says_station() { berth doctor | grep 'NetworkManager manages it, so it joins as a station'; }
# NetworkManager keeps it in memory alone, and it leads nowhere else.
profile_is_for_the_visit() {
    lap nmcli -t -f NAME,FILENAME connection show --active | grep '^berth-visit.*:/run/NetworkManager/' &&
        not has_default_route 4 && not has_default_route 6
}
# Its own, as mac80211_hwsim numbers its radios, is for its own network.
has_own_address() { [ "$(lap cat /sys/class/net/wlan1/address)" = 02:00:00:00:01:00 ]; }
has_default_route() { ip -n lap "-$1" route show default | grep .; }
is_nowhere() { lap nmcli -g GENERAL.STATE device show wlan1 | grep '^30 '; }
is_back_home() { has_default_route 4 && home_answers && has_own_address; }

fact "hub and laptop have their daemons" lab 3
fact "there is a network that the laptop is on all day" home
fact "NetworkManager has the laptop there" network_manager
fact "the programs run" programs
fact "berth doctor says that the laptop goes as a station" says_station
fact "they pair by the code" pair
new_file 40
backup_begins
fact "the first byte of a backup is acknowledged" within 60 acknowledged 1
fact "NetworkManager lends its adapter for the visit, and for nothing else" profile_is_for_the_visit
fact "the adapter's own address is not the visit's" not has_own_address
fact "its own network is one that must be asked for" lap nmcli connection modify home connection.autoconnect no
stop backup
fact "berth is killed" within 10 backup_is_over
stop berthd
fact "the laptop is on no network" within 40 is_nowhere
backup_begins
fact "berth, once it runs again, has it on its own network, with no hub there" within 60 is_back_home
fact "the hub is there again" start_hub
fact "the rest is backed up" within 120 backup_is_complete
fact "that backup has ended" within 60 backup_is_over
fact "the laptop is on its own network again" within 40 is_back_home
fact "restic finds it whole upstream" restic_agrees
fact "nothing of the visits is left" within 20 nothing_left
