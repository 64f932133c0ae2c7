# shellcheck shell=bash
# The lab itself: are the radios, the daemons and the air between them as real as the scenarios need?

SERVICE=7f9b1c3e-5d1a-4a53-9b43-1f0a6c0b7e11
WPA=fi.w1.wpa_supplicant1
CHANNEL_MHZ=2412

# --- The hub's disk -------------------------------------------------------------------------------------------------

fact "the hub's disk is there" hub_disk
if [ "$BOOT" = 2 ]; then
    fact "what was synced survived the power cut" grep -q synced /run/hub/synced
    fact "what was not is gone" not grep -q lost /run/hub/lost
    exit 0
fi

# --- Bluetooth ------------------------------------------------------------------------------------------------------

# What bluetoothctl starts ends with it.
advertise() {
    { printf '%s\n' "select $1" "advertise.uuids $SERVICE" "advertise on"; sleep infinity; } | bluetoothctl
}
# btvirt hands over an advertisement once for each start of a scan, and the kernel may not be ready for it yet.
scan() {
    { echo "select $1"; while echo "scan le" && sleep 2 && echo "scan off"; do sleep 0.5; done; } | bluetoothctl
}
advertises() {
    [ "$(busctl get-property org.bluez /org/bluez/hci0 org.bluez.LEAdvertisingManager1 ActiveInstances)" = "y 1" ]
}
seen() {
    busctl get-property org.bluez "$seen_as" org.bluez.Device1 UUIDs | grep -q "$SERVICE" &&
        busctl get-property org.bluez "$seen_as" org.bluez.Device1 RSSI
}

fact "both sides have their bus" buses
fact "both Bluetooth adapters are powered" bluetooth
hub_address=$(adapter hci0 Address | cut -d '"' -f 2)
lap_address=$(adapter hci1 Address | cut -d '"' -f 2)
seen_as=/org/bluez/hci1/dev_${hub_address//:/_}
daemon advertiser advertise "$hub_address"
fact "the hub's adapter advertises" within 20 advertises
daemon scanner scan "$lap_address"
fact "the laptop's adapter sees the hub's advertisement" within 30 seen

# --- Wi-Fi ----------------------------------------------------------------------------------------------------------

on() { case $1 in hub) "${@:2}" ;; lap) lap "${@:2}" ;; esac; }

# create_interface SIDE NAME: prints the interface's object path.
create_interface() {
    on "$1" busctl call $WPA /fi/w1/wpa_supplicant1 $WPA CreateInterface 'a{sv}' 3 \
        Ifname s "$2" Driver s nl80211 ConfigFile s "/run/$1.conf" | cut -d '"' -f 2
}
p2p_capable() {
    on "$1" busctl get-property $WPA "$2" $WPA.Interface Capabilities | tee /dev/stderr | grep -q '"p2p"'
}
group_interface() { busctl call $WPA /fi/w1/wpa_supplicant1 $WPA GetInterface s p2p-wlan0-0 | cut -d '"' -f 2; }
group() {
    local path
    path=$(busctl get-property $WPA "$(group_interface)" $WPA.Interface.P2PDevice Group | cut -d '"' -f 2)
    busctl get-property $WPA "$path" $WPA.Group "$1" | cut -d ' ' -f 2-
}
open_group() {
    busctl call $WPA "$hub" $WPA.Interface.P2PDevice GroupAdd 'a{sv}' 2 persistent b false frequency i $CHANNEL_MHZ &&
        within 20 group Passphrase
}
join() {
    local network
    # shellcheck disable=SC2046
    network=$(lap busctl call $WPA "$lap" $WPA.Interface AddNetwork 'a{sv}' 4 ssid ay $(group SSID) \
        psk s "$(group Passphrase | tr -d '"')" key_mgmt s WPA-PSK scan_freq s $CHANNEL_MHZ | cut -d '"' -f 2) &&
        lap busctl call $WPA "$lap" $WPA.Interface SelectNetwork o "$network" && within 30 joined
}
joined() { [ "$(lap busctl get-property $WPA "$lap" $WPA.Interface State)" = 's "completed"' ]; }
answers() { lap ping -c 1 -W 1 "$link_local%wlan1"; }

fact "two Wi-Fi radios" wifi 2
for side in hub lap; do fact "the $side's wpa_supplicant is on its bus" restart_wpa_supplicant $side; done
hub=$(create_interface hub wlan0)
lap=$(create_interface lap wlan1)
fact "the hub's radio is capable of Wi-Fi Direct" p2p_capable hub "$hub"
fact "the laptop's radio is capable of Wi-Fi Direct" p2p_capable lap "$lap"
fact "the hub opens a group" open_group
fact "the laptop joins it as a station" join
link_local=$(ip -6 -o addr show dev p2p-wlan0-0 scope link | awk '{ sub("/.*", "", $4); print $4 }')
fact "the hub answers a ping" within 10 answers
daemon iperf iperf3 -s
fact "10 MB arrive over TCP" lap iperf3 -c "$link_local%wlan1" -n 10M
leave_range
fact "out of range, it does not" within 5 not answers
come_back
fact "back in range, it does" within 60 answers

# --- Programs of the host, and a power cut --------------------------------------------------------------------------

only_its_radio() { [ "$(host_on_lap ls /sys/class/net | grep wlan)" = wlan1 ]; }
# shellcheck disable=SC2016
write() { host_on_hub sh -c 'echo synced >"$HOME/synced" && sync "$HOME/synced" && echo lost >"$HOME/lost"'; }

fact "a program of the host sees the laptop's radio alone when it runs there" only_its_radio
fact "a program of the host writes to the hub's disk" write
power_cut
