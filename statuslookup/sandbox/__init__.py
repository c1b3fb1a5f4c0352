"""SMSFire's and GREEN-API's status APIs, imitated well enough that a program which works here works there.

::

    sandbox = Sandbox(token="secret")
    sandbox.add_message(1, custom_id="hello", state=DeliveryState.READ)
    with sandbox.serve() as base_url:
        ...  # StatusClient(SMSFire("secret", base_url=base_url)), in this process or in another one

Times are seconds. Paths, fields, responses and limits follow SMSFire, "Consulta Status", and GREEN-API,
"GetStatusStatistic". What they do not document (how they count requests, how they word an error) can be
chosen here, or is kept plain.
"""

from ._counting import Counting

try:
    from ._app import Sandbox
    from ._campaigns import Campaign
    from ._greenapi import Instance
    from ._lives import DeliveryCurve, Step
    from ._webhooks import Mishaps, Posted
except ModuleNotFoundError as _error:
    raise ImportError('the sandbox needs its extra: pip install "statuslookup[sandbox]"') from _error

__all__ = ["Campaign", "Counting", "DeliveryCurve", "Instance", "Mishaps", "Posted", "Sandbox", "Step"]
