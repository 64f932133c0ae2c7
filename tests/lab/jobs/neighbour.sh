# shellcheck shell=bash
# What a neighbour sees: all that both sides' radios send during a pairing, some visits and a revocation is captured, and
# searched for what stays the same. Both are set up as docs/neighbour.md advises; it lists what stays the same even so.
# Arguments: how many visits, 10 unless given; `device`: with adapters that have an interface of their own for Wi-Fi Direct.
# shellcheck source=SCRIPTDIR/../guest/programs disable=SC2154
. "$guest/programs"

visits=${1:-10} kind=${2:-}
HOST=attic-computer LAP_NAME=attic-laptop
# As mac80211_hwsim numbers its radios. Its interfaces for Wi-Fi Direct have an address that nothing changes.
HUB_P2P_DEVICE=42:00:00:00:00:00 LAP_P2P_DEVICE=42:00:00:00:01:00 LAP_ADDRESS=02:00:00:00:01:00
radios=()
[ "$kind" = device ] || radios=(support_p2p_device=0)

# Bluetooth changes its addresses, and gives a name that says nothing instead of the host's.
bluetooth_as_advised() {
    hostname $HOST
    printf '[General]\nPrivacy = device\n' >/etc/bluetooth/main.conf
}
names_as_advised() {
    local adapter
    for adapter in hci0 hci1; do
        busctl set-property org.bluez "/org/bluez/$adapter" org.bluez.Adapter1 Alias s Bluetooth
    done
}
# The hub's Wi-Fi is left to berthd.
wifi_as_advised() {
    sed -i '/^device_name/d' /run/lap.conf
    echo p2p_interface_random_mac_addr=1 >>/run/lap.conf
    [ "$kind" = device ] || echo p2p_device_random_mac_addr=1 >>/run/lap.conf
    lap busctl call $WPA /fi/w1/wpa_supplicant1 $WPA CreateInterface 'a{sv}' 3 \
        Ifname s wlan1 Driver s nl80211 ConfigFile s /run/lap.conf
}

# Wi-Fi's frames are captured in the air, Bluetooth's bytes on their way to and from the adapters.
capture() {
    ip link set hwsim0 up
    daemon bluetooth-capture btmon -w /out/bluetooth
    daemon wifi-capture tcpdump -i hwsim0 -U -Z root -s 0 -w /out/wifi
    within 10 test -s /out/bluetooth -a -s /out/wifi
}
capture_ends() { stop bluetooth-capture INT && stop wifi-capture INT && bluetooth_air && groups; }

# What Bluetooth sent, a line each: what it was, and its bytes in hexadecimal digits.
bluetooth_air() {
    od -An -v -tx1 -w1 /out/bluetooth | awk '
        BEGIN {
            for (byte = 0; byte < 256; byte++) value[sprintf("%02x", byte)] = byte
            told["0520"] = "address"; told["0820"] = "advertisement"; told["0920"] = "response"
            told["3520"] = "address"; told["3720"] = "advertisement"; told["3820"] = "response"
            told["0620"] = "advertise"; told["3620"] = "advertise"; told["0d20"] = "connect"; told["4320"] = "connect"
            skip = 16; missing = 24
        }
        # The header of the file, then of each record: its length, and what kind it is of.
        { sub(/ /, "") }
        skip { skip--; next }
        missing {
            head[24 - missing--] = value[$0]
            if (missing) next
            size = (head[6] * 256) + head[7]
            kind = head[10] * 256 + head[11]
            bytes = ""
            if (!size) missing = 24
            next
        }
        {
            bytes = bytes $0
            if (--size) next
            missing = 24
            if (kind == 4 || kind == 5) print "connection", bytes
            if (kind == 2 && substr(bytes, 1, 4) in told) print told[substr(bytes, 1, 4)], substr(bytes, 7)
        }' >/out/bluetooth.air
}
advertisements() { grep '^advertisement ' /out/bluetooth.air | sort -u; }

frames() { tcpdump -r /out/wifi -nn -e "$@" 2>/tmp/tcpdump; }
# Each group's name and address.
groups() {
    frames type mgt subtype beacon | sed -n 's/.*BSSID:\([0-9a-f:]*\).*Beacon (\([^)]*\)).*/\2 \1/p' | sort -u >/out/groups
}
column() { cut -d ' ' -f "$1" /out/groups | sort -u | wc -l; }

# Length, manufacturer data of 0xffff, whether the pairing window is open, 19 bytes; length, flags; unused.
advertises_a_nonce() {
    advertisements
    [ "$(advertisements | wc -l)" -ge 3 ] &&
        not eval "advertisements | grep -v -x -E 'advertisement 1b17ffffff1[01][0-9a-f]{38}02010600000000'" &&
        not grep '^response ' /out/bluetooth.air
}
# The byte of a command that says whose address it is; 00: that of the adapter.
bluetooth_has_random_addresses() {
    grep -q '^advertise ' /out/bluetooth.air && grep -q '^connect ' /out/bluetooth.air &&
        not grep -E '^advertise .{10}00|^connect .{24}00' /out/bluetooth.air
}
# A slow host may need a second group for a visit.
groups_are_strangers() {
    local groups
    cat /out/groups
    groups=$(wc -l </out/groups)
    [ "$groups" -ge "$visits" ] && [ "$(column 1)" = "$groups" ] && [ "$(column 2)" = "$groups" ]
}
# The device addresses that the groups' beacons tell in their fields for Wi-Fi Direct (50 6f 9a 09), behind what they are
# capable of.
devices() {
    od -An -v -tx1 /out/wifi | tr -d ' \n' | grep -o -E '506f9a09020200.{4}030600.{12}' |
        sed 's/.*030600//; s/../&:/g; s/:$//' | sort -u
}
devices_are_strangers() {
    devices
    case $kind in
        device) [ "$(devices)" = $HUB_P2P_DEVICE ] ;;
        *) [ "$(devices | wc -l)" -ge "$visits" ] && not eval "devices | grep -x -e 02:00:00:00:00:00 -e $HUB_P2P_DEVICE" ;;
    esac
}
# All others are of one group; the laptop's for looking for groups is heard with each of them.
one_address_comes_back() {
    frames | grep -o -E '([0-9a-f]{2}:){5}[0-9a-f]{2}' | grep -v '^.[13579bdf]' | sort -u >/tmp/all
    frames | sed -n 's/.*BSSID:\([0-9a-f:]*\) DA:\([0-9a-f:]*\) SA:\([0-9a-f:]*\) .*/\1 \2\n\1 \3/p' |
        grep -v '^.[13579bdf]' | sort -u | cut -d ' ' -f 2 | sort | uniq -u >/tmp/once
    comm -23 /tmp/all /tmp/once | tee /tmp/back
    [ "$(wc -l </tmp/back)" = 1 ] && not grep -x $LAP_ADDRESS /tmp/back &&
        { [ "$kind" != device ] || grep -x $LAP_P2P_DEVICE /tmp/back; }
}

# hidden TEXT, hidden_bytes HEX: nothing that was sent has it.
hidden() { hidden_bytes "$(printf %s "$1" | od -An -v -tx1 | tr -d ' \n')"; }
hidden_bytes() {
    # shellcheck disable=SC2001
    not grep -q "$1" /out/bluetooth.air &&
        not env LC_ALL=C grep -a -q -P "$(sed 's/../\\x&/g' <<<"$1")" /out/wifi
}
# A key, and a name that tells which one it is.
key_hidden() { hidden_bytes "${1:0:16}" && hidden "${1:0:8}"; }

repository_hidden() {
    local id
    RESTIC_PASSWORD=$(berth recovery-key) && export RESTIC_PASSWORD &&
        id=$(host_on_hub restic -r "/run/hub/upstream/$LAP_NAME" --no-cache cat config | sed -n 's/.*"id": "\(.*\)".*/\1/p') &&
        [ ${#id} = 64 ] && key_hidden "$id"
}

visit() { head -c 20000 /dev/urandom >"/run/lap/files/$EPOCHREALTIME" && berth backup; }

bluetooth_as_advised
fact "hub and laptop have their daemons" lab 2 "${radios[@]}"
fact "their Bluetooth is set up as advised" names_as_advised
fact "so is their Wi-Fi" wifi_as_advised
fact "what is sent is captured" capture
fact "the programs run" programs
fact "they pair by the code" pair
for ((number = 1; number <= visits; number++)); do fact "visit $number backs up" visit; done
fact "the laptop is revoked" berthctl revoke "$LAP_NAME"
fact "the hub goes on" within 20 advertises 1
fact "the capture can be read" capture_ends
fact "what is advertised has a random part, and is else the same for every hub" advertises_a_nonce
fact "Bluetooth has no address but random ones" bluetooth_has_random_addresses
fact "no group has a name or an address of another" groups_are_strangers
fact "the devices behind them are strangers too, where the adapter lets them" devices_are_strangers
fact "one address alone comes back: the laptop's own for looking for groups" one_address_comes_back
for name in "$HOST" "$LAP_NAME" desk; do fact "the name $name is not heard" hidden "$name"; done
for key in /run/lap/state/hubs/* /run/hub/state/laptops/*; do
    fact "the key ${key##*/} is not heard" key_hidden "${key##*/}"
done
fact "nor is the repository's" repository_hidden
