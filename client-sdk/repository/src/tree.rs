//! The entries of one folder: what a tree blob holds.

use serde::Deserialize;

use crate::json::{self, null_is_default};
use crate::limits::BLOB_RAW_BYTES_MAX;
use crate::{Node, OpenError, TreeError};

/// One folder. Its names are possible file names, ascend by their bytes, and none is there twice.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tree {
    nodes: Vec<Node>,
}

impl Tree {
    /// Puts the nodes in order.
    ///
    /// # Errors
    /// [`TreeError::Name`], [`TreeError::Duplicate`].
    pub fn new(mut nodes: Vec<Node>) -> Result<Self, TreeError> {
        nodes.sort_by(|a, b| a.name.cmp(&b.name));
        let mut before = None;
        for (position, node) in nodes.iter().enumerate() {
            if !is_possible_name(&node.name) {
                return Err(TreeError::Name { position });
            }
            if before == Some(&node.name) {
                return Err(TreeError::Duplicate { position });
            }
            before = Some(&node.name);
        }
        Ok(Self { nodes })
    }

    /// The entries, in order.
    #[must_use]
    pub fn nodes(&self) -> &[Node] {
        &self.nodes
    }

    /// The entries, in order.
    #[must_use]
    pub fn into_nodes(self) -> Vec<Node> {
        self.nodes
    }

    /// The blob's plaintext, exactly as restic writes it.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        let mut writer = TreeWriter::new();
        for node in &self.nodes {
            writer.push(node).expect("the nodes of a tree are in order");
        }
        writer.finish()
    }

    /// Reads a blob's plaintext.
    ///
    /// # Errors
    /// [`OpenError::Json`], [`OpenError::Nesting`], [`OpenError::Tree`], [`OpenError::TooLarge`].
    pub fn from_json(json: &[u8]) -> Result<Self, OpenError> {
        #[derive(Deserialize)]
        struct TreeJson {
            #[serde(deserialize_with = "null_is_default")]
            nodes: Vec<Node>,
        }
        if json.len() > BLOB_RAW_BYTES_MAX {
            return Err(OpenError::TooLarge {
                max_bytes: BLOB_RAW_BYTES_MAX,
            });
        }
        let tree: TreeJson = json::from_slice(json)?;
        Self::new(tree.nodes).map_err(OpenError::Tree)
    }
}

/// Writes a tree entry by entry, so that a folder of very many need not be in memory as [`Node`]s. Gives the bytes that
/// [`Tree::to_json`] gives.
#[derive(Debug, Clone)]
pub struct TreeWriter {
    json: Vec<u8>,
    last_name: Vec<u8>,
    count: usize,
}

impl TreeWriter {
    /// An empty folder.
    #[must_use]
    pub fn new() -> Self {
        Self {
            json: br#"{"nodes":["#.to_vec(),
            last_name: Vec::new(),
            count: 0,
        }
    }

    /// Adds an entry, whose name must be greater, by its bytes, than the one before.
    ///
    /// # Errors
    /// [`TreeError`]; nothing was added.
    pub fn push(&mut self, node: &Node) -> Result<(), TreeError> {
        let position = self.count;
        if !is_possible_name(&node.name) {
            return Err(TreeError::Name { position });
        }
        match node.name.cmp(&self.last_name) {
            std::cmp::Ordering::Less => return Err(TreeError::Order { position }),
            std::cmp::Ordering::Equal => return Err(TreeError::Duplicate { position }),
            std::cmp::Ordering::Greater => {}
        }
        if position > 0 {
            self.json.push(b',');
        }
        json::write(node, &mut self.json);
        self.last_name.clone_from(&node.name);
        self.count += 1;
        Ok(())
    }

    /// Bytes of JSON so far.
    #[must_use]
    pub fn size_bytes(&self) -> usize {
        self.json.len()
    }

    /// The blob's plaintext.
    #[must_use]
    pub fn finish(mut self) -> Vec<u8> {
        self.json.extend_from_slice(b"]}\n");
        self.json
    }
}

impl Default for TreeWriter {
    fn default() -> Self {
        Self::new()
    }
}

fn is_possible_name(name: &[u8]) -> bool {
    !matches!(name, b"" | b"." | b"..") && !name.contains(&b'/') && !name.contains(&0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{FileMode, NodeKind, Timestamp};

    fn node(name: &[u8]) -> Node {
        Node {
            name: name.to_vec(),
            kind: NodeKind::Fifo,
            mode: FileMode::from_unix(0o010_600),
            mtime: Timestamp::default(),
            atime: Timestamp::default(),
            ctime: Timestamp::default(),
            uid: 0,
            gid: 0,
            user: String::new(),
            group: String::new(),
            inode: 1,
            device_id: 2,
            extended_attributes: Vec::new(),
            error: String::new(),
        }
    }

    #[test]
    fn entries_are_put_in_the_order_of_their_bytes() {
        let tree = Tree::new([&b"b"[..], b"\xff", b"a", b"a.b", b"B"].map(node).to_vec()).unwrap();
        let names: Vec<&[u8]> = tree.nodes().iter().map(|node| node.name.as_slice()).collect();
        assert_eq!(names, [&b"B"[..], b"a", b"a.b", b"b", b"\xff"]);
        assert_eq!(Tree::from_json(&tree.to_json()).unwrap(), tree);
    }

    #[test]
    fn names_that_would_lead_out_of_the_folder_are_refused() {
        for name in [&b""[..], b".", b"..", b"a/b", b"/", b"../x", b"a\0"] {
            assert_eq!(Tree::new(vec![node(name)]), Err(TreeError::Name { position: 0 }));
            assert_eq!(
                TreeWriter::new().push(&node(name)),
                Err(TreeError::Name { position: 0 })
            );
            let mut json = br#"{"nodes":["#.to_vec();
            json::write(&node(name), &mut json);
            json.extend_from_slice(b"]}");
            assert!(matches!(Tree::from_json(&json), Err(OpenError::Tree(_))));
        }
        for name in [&b"..."[..], b" ", b".a", b"\\", b"\n"] {
            assert!(Tree::new(vec![node(name)]).is_ok());
        }
    }

    #[test]
    fn one_name_is_there_once() {
        let twice = vec![node(b"a"), node(b"b"), node(b"a")];
        assert_eq!(Tree::new(twice), Err(TreeError::Duplicate { position: 1 }));
        let mut writer = TreeWriter::new();
        writer.push(&node(b"b")).unwrap();
        let before = writer.size_bytes();
        assert_eq!(
            writer.push(&node(b"b")),
            Err(TreeError::Duplicate { position: 1 })
        );
        assert_eq!(writer.push(&node(b"a")), Err(TreeError::Order { position: 1 }));
        assert_eq!(writer.size_bytes(), before);
    }

    /// Ids that every restic repository knows.
    #[test]
    fn empty_folder_is_what_restic_writes() {
        assert_eq!(Tree::default().to_json(), b"{\"nodes\":[]}\n");
        let id = crate::Id::of(&Tree::default().to_json());
        assert_eq!(
            id.to_string(),
            "ac08ce34ba4f8123618661bef2425f7028ffb9ac740578a3ee88684d2523fee8"
        );
        assert_eq!(Tree::from_json(b"{\"nodes\":null}").unwrap(), Tree::default());
    }

    #[test]
    fn hostile_json_is_an_error() {
        let deep = format!(r#"{{"nodes":[],"x":{}}}"#, "[".repeat(10_000));
        for json in [
            "",
            "{}",
            "[]",
            r#"{"nodes":[{}]}"#,
            r#"{"nodes":[{"name":"a","type":"dir","subtree":null}]}"#,
            r#"{"nodes":[{"name":"a","type":"irregular"}]}"#,
            r#"{"nodes":[{"name":"\\","type":"fifo"}]}"#,
            r#"{"nodes":[{"name":"a","type":"file","content":["00"]}]}"#,
            r#"{"nodes":[{"name":"a","type":"fifo","uid":-1}]}"#,
            r#"{"nodes":[]} x"#,
            &deep,
        ] {
            assert!(Tree::from_json(json.as_bytes()).is_err(), "{json:.80}");
        }
        assert!(Tree::from_json(br#"{"nodes":[{"name":"a","type":"file","content":null}]}"#).is_ok());
    }
}
