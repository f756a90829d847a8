"""The command `snapferry`: starts migrations, shows them, answers their gates, ends them.

It knows of AWS what boto3 knows: profiles, regions, `AWS_ENDPOINT_URL`. Commands find what they
need by the outputs of the stack.
"""
