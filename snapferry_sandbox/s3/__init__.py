"""S3 with two AWS accounts that don't trust each other, on one machine.

versitygw (`gateway`) stores the objects and enforces bucket policies, ACLs and ownership, but knows
neither AWS's accounts and roles nor their temporary credentials. The bridge in front of it does:
it verifies the caller's signature, finds the caller's account and role, and hands the request on
under the gateway account which stands for that principal.

Where it is not AWS: a bucket's ACL counts only while the bucket has no policy; a statement that
names an account says nothing about a role of that account which another statement names; objects
have no ACLs of their own beyond who owns them; one account owns all buckets.
"""
