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
