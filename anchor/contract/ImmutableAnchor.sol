// SPDX-License-Identifier: UNLICENSED
pragma solidity 0.8.37;

/// @title Roots of the anchor trees of one Immutable installation
/// @notice Keeps in which block each root was anchored. A root that is here was known no later than that block; nothing
/// can be taken back, altered or replaced, by anybody. See docs/anchor-contract.md.
/// @dev No proxy, no delegatecall, no selfdestruct, no ether: what is deployed is what there will ever be.
contract ImmutableAnchor {
    /// @notice A root was anchored, once and for all.
    /// @param merkleRoot Root of the anchor tree (RFC 6962, SHA-256).
    /// @param timestamp Of the block, seconds since the epoch.
    event Anchored(bytes32 indexed merkleRoot, uint256 timestamp);
    /// @notice An account may anchor from now on, or no longer.
    event SubmitterSet(address indexed submitter, bool allowed);
    /// @notice The owner has named a successor; the zero address takes the offer back.
    event OwnershipTransferStarted(address indexed owner, address indexed successor);
    /// @notice The successor has accepted. At deployment: from the zero address to the first owner.
    event OwnershipTransferred(address indexed previousOwner, address indexed owner);

    /// @notice Neither the owner nor an allowed submitter.
    error NotAllowed(address account);
    /// @notice Only the owner may do this.
    error NotOwner(address account);
    /// @notice Only the account that the owner has named may accept.
    error NotSuccessor(address account);
    /// @notice A contract without an owner could never change its submitters.
    error ZeroOwner();
    /// @notice The root of nothing: 32 zero bytes.
    error ZeroRoot();
    /// @notice The root is here already, since that block.
    error AlreadyAnchored(bytes32 merkleRoot, uint256 blockNumber);

    /// @notice May anchor, and decides who else may.
    address public owner;
    /// @notice Whom the owner has offered the ownership to; zero if nobody.
    address public successor;
    /// @notice Whether an account beside the owner may anchor.
    mapping(address account => bool allowed) public isSubmitter;
    /// @notice The block in which a root was anchored; 0 if it never was.
    mapping(bytes32 merkleRoot => uint256 blockNumber) public blockOf;

    /// @notice All that there is to set up, in one transaction. The account that deploys has no rights by that.
    /// @param firstSubmitter Zero for none.
    constructor(address firstOwner, address firstSubmitter) {
        if (firstOwner == address(0)) revert ZeroOwner();
        owner = firstOwner;
        emit OwnershipTransferred(address(0), firstOwner);
        if (firstSubmitter != address(0)) _setSubmitter(firstSubmitter, true);
    }

    modifier onlyOwner() {
        if (msg.sender != owner) revert NotOwner(msg.sender);
        _;
    }

    /// @notice Anchors a root. Reverts for one that is here already, so that nobody pays for it twice by mistake.
    function anchor(bytes32 root) external {
        if (msg.sender != owner && !isSubmitter[msg.sender]) revert NotAllowed(msg.sender);
        if (root == 0) revert ZeroRoot();
        if (blockOf[root] != 0) revert AlreadyAnchored(root, blockOf[root]);
        blockOf[root] = block.number;
        emit Anchored(root, block.timestamp);
    }

    /// @notice Lets an account anchor, or no longer.
    function setSubmitter(address submitter, bool allowed) external onlyOwner {
        _setSubmitter(submitter, allowed);
    }

    /// @notice Offers the ownership. Nothing changes until the successor accepts, so that a mistyped address costs nothing.
    /// @param to The zero address takes an offer back.
    function transferOwnership(address to) external onlyOwner {
        successor = to;
        emit OwnershipTransferStarted(owner, to);
    }

    /// @notice Takes the ownership that was offered.
    function acceptOwnership() external {
        if (msg.sender != successor) revert NotSuccessor(msg.sender);
        emit OwnershipTransferred(owner, msg.sender);
        owner = msg.sender;
        delete successor;
    }

    function _setSubmitter(address submitter, bool allowed) private {
        isSubmitter[submitter] = allowed;
        emit SubmitterSet(submitter, allowed);
    }
}
