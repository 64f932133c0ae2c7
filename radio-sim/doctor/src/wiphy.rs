//! What the kernel tells of Wi-Fi radios (nl80211): bands, kinds of interfaces, and which of them go together.

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::TryStreamExt;
use wl_nl80211::{
    Nl80211Attr, Nl80211Band, Nl80211BandInfo, Nl80211BandType, Nl80211FrequencyInfo, Nl80211IfMode,
    Nl80211IfaceComb, Nl80211IfaceCombAttribute, Nl80211IfaceCombLimitAttribute, Nl80211InterfaceType,
};

use crate::seen::{Band, Beside, WifiRadio};

/// Longest wait for the kernel.
const KERNEL_WAIT: Duration = Duration::from_secs(3);

/// None where the kernel has no Wi-Fi.
pub(crate) async fn radios() -> Vec<WifiRadio> {
    let asked = tokio::time::timeout(KERNEL_WAIT, ask()).await;
    match asked {
        Ok(Some((radios, interfaces))) => read(&radios, &interfaces),
        Ok(None) | Err(_) => Vec::new(),
    }
}

type Messages = Vec<Vec<Nl80211Attr>>;

/// Radios, and interfaces.
async fn ask() -> Option<(Messages, Messages)> {
    let (connection, handle, _) = wl_nl80211::new_connection().ok()?;
    let answers = tokio::spawn(connection);
    let radios: Result<Vec<_>, _> = handle.wireless_physic().get().execute().await.try_collect().await;
    let interfaces = handle.interface().get(Vec::new()).execute().await;
    let interfaces: Result<Vec<_>, _> = interfaces.try_collect().await;
    answers.abort();
    let radios = radios.ok()?.into_iter().map(|it| it.payload.attributes);
    let interfaces = interfaces.ok()?.into_iter().map(|it| it.payload.attributes);
    Some((radios.collect(), interfaces.collect()))
}

/// A radio as the kernel tells it, in several messages.
#[derive(Debug, Default)]
struct Wiphy {
    name: String,
    modes: Vec<Nl80211IfMode>,
    combinations: Vec<Combination>,
    bands: Vec<Band>,
    interfaces: Vec<String>,
}

fn read(radios: &Messages, interfaces: &Messages) -> Vec<WifiRadio> {
    let mut wiphys: BTreeMap<u32, Wiphy> = BTreeMap::new();
    for message in radios {
        let Some(index) = index(message) else { continue };
        let wiphy = wiphys.entry(index).or_default();
        for attribute in message {
            match attribute {
                Nl80211Attr::WiphyName(name) => wiphy.name.clone_from(name),
                Nl80211Attr::SupportedIftypes(modes) => wiphy.modes.clone_from(modes),
                Nl80211Attr::InterfaceCombination(combinations) => {
                    wiphy
                        .combinations
                        .extend(combinations.iter().map(Combination::from));
                }
                Nl80211Attr::WiphyBands(bands) => bands.iter().for_each(|it| band(it, &mut wiphy.bands)),
                _ => {}
            }
        }
    }
    for message in interfaces {
        let wiphy = index(message).and_then(|index| wiphys.get_mut(&index));
        let name = message.iter().find_map(|attribute| match attribute {
            Nl80211Attr::IfName(name) => Some(name),
            _ => None,
        });
        if let (Some(wiphy), Some(name)) = (wiphy, name.filter(|name| !name.starts_with("p2p-"))) {
            wiphy.interfaces.push(name.clone());
        }
    }
    let told = wiphys.into_values().filter(|wiphy| !wiphy.modes.is_empty());
    told.map(radio).collect()
}

fn radio(wiphy: Wiphy) -> WifiRadio {
    let beside = |mode, kind| match wiphy.modes.contains(&mode) {
        true => beside_a_station(&wiphy.combinations, &kind),
        false => Beside::No,
    };
    WifiRadio {
        owner: beside(Nl80211IfMode::P2pGo, Nl80211InterfaceType::P2pGo),
        client: beside(Nl80211IfMode::P2pClient, Nl80211InterfaceType::P2pClient),
        name: wiphy.name,
        interfaces: wiphy.interfaces,
        bands: wiphy.bands,
    }
}

fn index(message: &[Nl80211Attr]) -> Option<u32> {
    message.iter().find_map(|attribute| match attribute {
        Nl80211Attr::Wiphy(index) => Some(*index),
        _ => None,
    })
}

/// Adds what this part of a band tells. A band without a channel that may be used is none.
fn band(part: &Nl80211Band, bands: &mut Vec<Band>) {
    let ghz = match part.kind {
        Nl80211BandType::Band2GHz => "2.4",
        Nl80211BandType::Band5GHz => "5",
        Nl80211BandType::Band6GHz => "6",
        _ => return,
    };
    let channels = part.info.iter().flat_map(|info| match info {
        Nl80211BandInfo::Freqs(channels) => channels.as_slice(),
        _ => &[],
    });
    for channel in channels {
        if channel.info.contains(&Nl80211FrequencyInfo::Disabled) {
            continue;
        }
        let is_quiet = |info: &Nl80211FrequencyInfo| {
            matches!(info, Nl80211FrequencyInfo::NoIr | Nl80211FrequencyInfo::Radar)
        };
        let is_for_groups = !channel.info.iter().any(is_quiet);
        match bands.iter_mut().find(|band| band.ghz == ghz) {
            Some(band) => band.is_for_groups |= is_for_groups,
            None => bands.push(Band { ghz, is_for_groups }),
        }
    }
}

/// Interfaces that may be there at once.
#[derive(Debug, Clone, Default)]
struct Combination {
    interfaces_max: u32,
    channels_max: u32,
    /// So many of these kinds.
    limits: Vec<(u32, Vec<Nl80211InterfaceType>)>,
}

impl From<&Nl80211IfaceComb> for Combination {
    fn from(told: &Nl80211IfaceComb) -> Self {
        let mut it = Self::default();
        for attribute in &told.attributes {
            match attribute {
                Nl80211IfaceCombAttribute::Maxnum(most) => it.interfaces_max = *most,
                Nl80211IfaceCombAttribute::NumChannels(most) => it.channels_max = *most,
                Nl80211IfaceCombAttribute::Limits(limits) => {
                    it.limits = limits.iter().map(|limit| of_limit(&limit.attributes)).collect();
                }
                _ => {}
            }
        }
        it
    }
}

fn of_limit(attributes: &[Nl80211IfaceCombLimitAttribute]) -> (u32, Vec<Nl80211InterfaceType>) {
    let mut limit = (0, Vec::new());
    for attribute in attributes {
        match attribute {
            Nl80211IfaceCombLimitAttribute::Max(most) => limit.0 = *most,
            Nl80211IfaceCombLimitAttribute::Iftypes(kinds) => limit.1.clone_from(kinds),
            _ => {}
        }
    }
    limit
}

impl Combination {
    /// Is there room for a station and one of this kind?
    fn has_both(&self, kind: &Nl80211InterfaceType) -> bool {
        let may_be = |kind: &Nl80211InterfaceType| {
            let limits = self.limits.iter().enumerate();
            let with_it = limits.filter(move |(_, (most, kinds))| *most > 0 && kinds.contains(kind));
            with_it.map(|(at, (most, _))| (at, *most)).collect::<Vec<_>>()
        };
        let (stations, others) = (may_be(&Nl80211InterfaceType::Station), may_be(kind));
        let mut pairs = stations
            .iter()
            .flat_map(|station| others.iter().map(move |other| (station, other)));
        self.interfaces_max > 1 && pairs.any(|((at, most), (other, _))| at != other || *most > 1)
    }
}

/// The best of the combinations that have room for a station and one of this kind.
fn beside_a_station(combinations: &[Combination], kind: &Nl80211InterfaceType) -> Beside {
    let with_both = combinations.iter().filter(|it| it.has_both(kind));
    match with_both.map(|it| it.channels_max).max() {
        None => Beside::Alone,
        Some(0 | 1) => Beside::SameChannel,
        Some(_) => Beside::AnyChannel,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    use Nl80211InterfaceType::{Ap, P2pClient, P2pGo, Station};
    use wl_nl80211::Nl80211Frequency;

    fn combination(
        interfaces_max: u32,
        channels_max: u32,
        limits: &[(u32, &[Nl80211InterfaceType])],
    ) -> Combination {
        Combination {
            interfaces_max,
            channels_max,
            limits: limits
                .iter()
                .map(|(most, kinds)| (*most, kinds.to_vec()))
                .collect(),
        }
    }

    #[test]
    fn a_group_goes_beside_a_station_where_a_combination_has_room_for_both() {
        let of = |combinations: &[Combination]| beside_a_station(combinations, &P2pGo);
        assert_eq!(of(&[]), Beside::Alone);
        // A Raspberry Pi's: one station, and one of these, on two channels.
        let pi = combination(3, 2, &[(1, &[Station]), (1, &[P2pClient, P2pGo])]);
        assert_eq!(of(std::slice::from_ref(&pi)), Beside::AnyChannel);
        // Either the one or the other.
        let either = combination(2, 2, &[(1, &[Station, P2pGo])]);
        assert_eq!(of(std::slice::from_ref(&either)), Beside::Alone);
        let both = combination(2, 1, &[(2, &[Station, P2pGo])]);
        assert_eq!(of(std::slice::from_ref(&both)), Beside::SameChannel);
        assert_eq!(of(&[combination(1, 1, &[(2, &[Station, P2pGo])])]), Beside::Alone);
        assert_eq!(of(&[combination(2, 1, &[(2, &[Station, Ap])])]), Beside::Alone);
        assert_eq!(of(&[both, either, pi]), Beside::AnyChannel);
    }

    #[test]
    fn a_radio_is_put_together_from_the_messages_that_tell_of_it() {
        use Nl80211FrequencyInfo::{Disabled, Freq, NoIr};
        let channel = |info: &[Nl80211FrequencyInfo]| Nl80211Frequency {
            index: 0,
            info: info.to_vec(),
        };
        let band = |kind, channels: Vec<_>| {
            Nl80211Attr::WiphyBands(vec![Nl80211Band {
                kind,
                info: vec![Nl80211BandInfo::Freqs(channels)],
            }])
        };
        let part = |attribute| vec![Nl80211Attr::Wiphy(7), attribute];
        let five = Nl80211BandType::Band5GHz;
        let radios = vec![
            part(Nl80211Attr::WiphyName("phy7".to_owned())),
            part(Nl80211Attr::SupportedIftypes(vec![
                Nl80211IfMode::Station,
                Nl80211IfMode::P2pGo,
            ])),
            part(band(
                Nl80211BandType::Band6GHz,
                vec![channel(&[Freq(5955), Disabled])],
            )),
            part(band(five, vec![channel(&[Freq(5180), NoIr])])),
            part(band(five, vec![channel(&[Freq(5745)])])),
            vec![Nl80211Attr::Wiphy(8)],
        ];
        let interface =
            |radio, name: &str| vec![Nl80211Attr::Wiphy(radio), Nl80211Attr::IfName(name.to_owned())];
        let interfaces = vec![
            interface(7, "wlan0"),
            interface(7, "p2p-wlan0-0"),
            interface(9, "wlan9"),
        ];
        let five = Band {
            ghz: "5",
            is_for_groups: true,
        };
        let radio = WifiRadio {
            name: "phy7".to_owned(),
            interfaces: vec!["wlan0".to_owned()],
            bands: vec![five],
            owner: Beside::Alone,
            client: Beside::No,
        };
        assert_eq!(read(&radios, &interfaces), [radio]);
    }
}
