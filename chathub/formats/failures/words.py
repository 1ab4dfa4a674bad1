"""The words of providers that decide what a failure means: codes, types, reasons, and a few phrases.

All codes are plain: in lower case, without underscores and dots (``plain``). A code counts with the statuses
of ``CODES_AT``, a phrase with those of ``PHRASES_AT`` and only at the beginning of the message.
"""

import re

Phrases = re.Pattern[str]

# client errors, and errors inside a 200
CODES_AT = (200, 400, 402, 403, 404, 429)
PHRASES_AT = (200, 400, 401, 402, 403, 404, 429)

NO_CREDIT_CODES = frozenset(
    {
        "insufficientquota",
        "exceededcurrentquotaerror",
        "quotaexceeded",
        "billingnotactive",
        "billinghardlimitreached",
        "billingdisabled",
        "insufficientbalance",
        "accountoverdueerror",
        "arrearage",
        "billingerror",
        "creditlimitexceeded",
        "blockedapiaccess",
        "commoditynotpurchased",
        "insufficientbalanceerror",
        "insufficientuserquota",
        "operationdeniedserviceoverdue",
        "postpaidbilloverdue",
        "preconsumetokenquotafailed",
        "prepaidbilloverdue",
        "1113",
        "30001",
        "1308",
        "1309",
        "1310",
    }
)
# a quota of one model alone: DashScope's free tier, a limit that the owner set at Ark
MODEL_QUOTA_CODES = frozenset(
    {
        "allocationquotafreetieronly",
        "setlimitexceeded",
    }
)
BAD_KEY_CODES = frozenset(
    {
        "invalidapikey",
        "apikeyinvalid",
        "authenticationerror",
        "apikeyexpired",
        "accountdeactivated",
        "accountsuspended",
        "organizationrestricted",
        "accessterminated",
        "accessterminatederror",
        "apikeyserviceblocked",
        "apikeyhttpreferrerblocked",
        "apikeyipaddressblocked",
        "consumersuspended",
        "consumerinvalid",
        "servicedisabled",
        "accountstateinvalid",
    }
)
MODEL_CODES = frozenset(
    {
        "modelnotfound",
        "modelaccessdenied",
        "modelnotavailable",
        "modelnotsupported",
        "modelnotexist",
        "modeldisabled",
        "invalidendpointormodelnotfound",
        "invalidendpointormodelmodelidaccessdisabled",
        "modelnotopen",
        "operationdeniedservicenotopen",
        "accessdeniedunpurchased",
        "unknownmodel",
        "invalidmodel",
        "deploymentnotfound",
        "1211",
        "1311",
        "20012",
        "30003",
        "30011",
    }
)
RETIRED_CODES = frozenset(
    {
        "modeldecommissioned",
        "modeldeprecated",
        "modelretired",
        "modelterminated",
    }
)
FILTERED = frozenset(
    {
        "1301",
        "datainspectionfailed",
        "responsibleaipolicyviolation",
        "invalidprompt",
        "biopolicy",
        "cyberpolicy",
        "misalignmentpolicyviolation",
    }
)
OVERLOADED = frozenset(
    {
        "overloadederror",
        "overloaded",
        "engineoverloadederror",
        "serveroverloaded",
        "serverisoverloaded",
        "50505",
        "50603",
    }
)

FILTER = re.compile(r"content[ _-]?(?:filter|policy|management)|moderation|sensitive", re.IGNORECASE)
# a 400 or 403 for an input that moderation refused; at worst another key is not tried
FLAGGED = re.compile(
    r"requires moderation|input was flagged|flagged for|violates usage guidelines|content exists risk"
    r"|blocked by content filter",
    re.IGNORECASE,
)
BAD_KEY = re.compile(
    r"(?:the |your )?(?:incorrect|invalid) (?:x-)?api[ _-]?key\b"
    r"|(?:the |your )?api[ _-]?key (?:is )?(?:currently )?"
    r"(?:not valid|not found|invalid|incorrect|expired|blocked|disabled|format is incorrect)"
    r"|(?:the |your )?api[ _-]?key (?:has )?(?:expired|been (?:disabled|revoked|blocked))"
    r"|method doesn't allow unregistered callers"
    r"|your api key was reported as leaked|(?:this|your) organization has been (?:disabled|restricted)"
    r"|无效的 ?(?:api ?)?(?:密钥|key)|(?:api ?)?密钥(?:无效|错误|已过期)",
    re.IGNORECASE,
)
NO_CREDIT = re.compile(
    r"insufficient (?:(?:account |credit )?balance|credits?\b|funds)"
    r"|(?:sorry, )?your (?:account|credit) balance is (?:too low|insufficient)"
    r"|(?:you have|you've|your \w+ has) reached (?:your|its|the) specified (?:workspace )?api usage limits?"
    r"|your (?:newly created )?team (?:\S+ ){0,2}(?:doesn't have any|has either used all available) credits"
    r"|key limit exceeded|out of call volume quota|you're out of extra usage"
    r"|your prepayment credits are depleted|gemini api free tier is not available"
    r"|your (?:project|billing account) has exceeded its (?:monthly )?spending cap"
    r"|(?:您的)?(?:账户|帐户)?(?:余额不足|已?欠费)|(?:该令牌|用户)额度(?:已用尽|不足)",
    re.IGNORECASE,
)
PER_MINUTE = re.compile(r"#(?:token|rate|throttling)-?limit|per[- ]minute|\b[rt]pm\b|每分钟", re.IGNORECASE)
PER_DAY = re.compile(r"per[-_ ]?day", re.IGNORECASE)
# anything about a model, and about a single one: by a quota's id, or as OpenAI and Anthropic name it
MODEL = re.compile(r"\bmodels?\b|\bdeployment\b|模型", re.IGNORECASE)
ONE_MODEL = re.compile(
    r"permodel|\.model\b|modelaccount|\bmodel\b|模型"
    r"|(?:reached|large) for \S+ (?:\(for limit \S+\) )?in (?:organization|project)",
    re.IGNORECASE,
)
NO_MODEL = re.compile(
    r"(?:the |this |your )?(?:requested |specified )?models?(?: |:|/)"
    r"|project \S{1,60} does not have access to models?\b|(?:当前|该|此)?模型",
    re.IGNORECASE,
)
# a 400 for a name that the provider does not know; what is in brackets must not be in the request
UNKNOWN_MODEL = re.compile(
    r"(?:the |this )?(?:requested |specified )?model(?: \S{1,200})? "
    r"((?:does |is |was |can ?|could )?not (?:be )?(?:exist|found)|doesn't exist)\b"
    r"|(unknown model:|invalid model:)"
    r"|\S{1,200} (is not a valid model\b)"
    r"|(模型不存在)",
    re.IGNORECASE,
)
# a refusal of one model, with a status that means a refused key
NO_ACCESS = re.compile(
    r"(?:access|allowed|permission|authori[sz]ed|entitled)\b.{0,80}\bmodels?\b"
    r"|\bmodels?\b.{0,80}\b(?:not allowed|no access|not authori[sz]ed|not permitted)"
    r"|无权(?:访问|使用|调用).{0,20}模型|模型.{0,40}无权",
    re.IGNORECASE,
)
# codes of a limit of requests, not of tokens, in their plain form
OF_REQUESTS = re.compile(
    r"(?<!toomany)(?<!invalid)requests?(?!error)|\brpm|rpmratelimit|qps|concurren|burst|ratequota"
)
RETIRED = re.compile(
    r"deprecated|decommissioned|retired|discontinued|no longer (?:available|supported|offered)|sunset"
    r"|已下线|已停止服务",
    re.IGNORECASE,
)
ACCOUNT = re.compile(
    r"account|organi[sz]ation|workspace|\bteam\b|\bapi[ _-]?keys?\b|project|账[户号]|帐[户号]|组织",
    re.IGNORECASE,
)

_SEPARATOR = re.compile(r"[^a-z0-9]")
_STATUSES = {
    429: "ratelimiterror ratelimitexceeded ratelimited toomanyrequests resourceexhausted"
    " insufficientquota exceededcurrentquotaerror ratelimitreachederror"
    " 1113 1302 1303 1304 1305 1308 1309 1310 1312 1313",
    529: "overloadederror overloaded",
    503: "engineoverloadederror serveroverloaded serveroverloaded serviceunavailable unavailable 50505 50603",
    402: "billingerror insufficientbalance arrearage",
    401: "authenticationerror invalidapikey apikeyinvalid unauthenticated invalidauthenticationerror",
    403: "permissionerror permissiondenied",
    404: "notfounderror notfound modelnotfound 1211",
    413: "requesttoolarge",
    500: "apierror servererror internal internalservererror",
    504: "timeouterror deadlineexceeded",
    400: "invalidrequesterror invalidargument contextlengthexceeded badrequest failedprecondition"
    " invalidimage invalidimageformat invalidbase64image invalidimageurl invalidimagemode imagetoolarge"
    " imagetoosmall imageparseerror imagefiletoolarge unsupportedimagemediatype emptyimagefile"
    " failedtodownloadimage imagefilenotfound",
}
_STATUS_OF = {word: status for status, listed in _STATUSES.items() for word in listed.split()}


def plain(word: str) -> str:
    """A code as the lists have it: ``Model.NotFound``, ``model_not_found`` and ``ModelNotFound`` are one."""
    return _SEPARATOR.sub("", word.lower())


def status_meant(said: frozenset[str]) -> int:
    """The HTTP status that machine-readable words mean, where an error came without one; 0 for none. The
    narrowest word counts: nearly all come with ``invalid_request_error``."""
    found = {_STATUS_OF[word] for word in said if word in _STATUS_OF}
    return next((status for status in _STATUSES if status in found), 0)
