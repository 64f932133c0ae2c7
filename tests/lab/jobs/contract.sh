# shellcheck shell=bash
# The radios of hardware hold what every radio promises. Arguments: a promise's name, or 1/3 for every third one.

radios=$(built debug/berth-lab-radios)
hub_radio=/run/hub/radio lap_radio=/run/lap/radio

serve_lap() { bluetooth_on_lap "$radios" serve laptop $lap_radio; }

fact "hub and laptop have their daemons" lab 2
daemon hub-radio host_on_hub "$radios" serve hub $hub_radio
daemon lap-radio serve_lap
fact "both radios can be opened" within 10 test -S $hub_radio -a -S $lap_radio
host_on_hub "$radios" check $hub_radio $lap_radio "${1-1/1}"
