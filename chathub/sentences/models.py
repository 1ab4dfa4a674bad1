"""Errors of models: the table, and what a model can do."""

SENTENCES = {
    "alias_has_no_provider": (
        "有目标的模型是别名，没有自己的提供商：请省略 model_provider，或设为 alias",
        "A model with targets is an alias and has no provider: leave out model_provider, or set it to alias",
    ),
    "alias_without_targets": (
        "别名 {model} 没有目标模型",
        "The alias {model} has no models that it stands for",
    ),
    "embeddings_unsupported": (
        "模型 {model} 的提供商不支持 embeddings 接口",
        "The provider of model {model} has no embeddings",
    ),
    "local_model_disabled": (
        "本地模型未启用：请管理员以 --local-model 启动服务器",
        "The local model is not enabled: the administrator starts the server with --local-model",
    ),
    "local_model_needs_no_key": ("内置模型不使用 API 密钥", "The built-in model uses no API key"),
    "model_disabled": (
        "模型 {model} 已停用，请选择其他模型",
        "Model {model} is disabled, please choose another",
    ),
    "model_has_no_price": (
        "模型 {model} 没有设置价格，有费用额度的用户不能用共享的 API 密钥调用："
        "请换一个模型，保存自己的密钥，或请管理员设置价格",
        "Model {model} has no price, so with a budget of money it cannot be used through a shared API key: "
        "choose another one, save an API key of your own, or ask the administrator to set its price",
    ),
    "model_is_target": (
        "模型 {model} 是别名的目标：{aliases:list}；请先从其目标中移除",
        "Model {model} is a target of these aliases: {aliases:list}; take it out of their targets first",
    ),
    "model_name_taken": ("模型名称已存在", "There is a model of this name already"),
    "model_not_allowed": (
        "该访问令牌不允许使用模型 {model}",
        "The access token may not use model {model}",
    ),
    "model_not_for_chat": (
        "模型 {model} 不是对话模型，不能用于聊天",
        "Model {model} is no chat model",
    ),
    "model_not_for_embeddings": ("模型 {model} 不是向量模型", "Model {model} is no embedding model"),
    "model_not_found": ("模型不存在", "There is no such model"),
    "model_of_other_provider": (
        "模型 {model} 不是此提供商的对话模型",
        "Model {model} is no chat model of this provider",
    ),
    "model_of_other_type": (
        "模型 {model} 的类型是 {type}，此接口需要 {types:or} 类型的模型",
        "Model {model} is of type {type}, and this path takes models of type {types:or}",
    ),
    "model_without_images": ("模型 {model} 不支持图片", "Model {model} does not take images"),
    "model_without_path": (
        "模型 {model} 的提供商不使用 OpenAI 协议，不支持接口 {path}",
        "The provider of model {model} does not have the path {path}: its format is not OpenAI's",
    ),
    "model_without_tools": ("模型 {model} 不支持工具调用", "Model {model} does not take tools"),
    "models_not_offered": (
        "提供商没有这些模型：{models:list}",
        "The provider does not have these models: {models:list}",
    ),
    "models_not_reordered": (
        "模型 {id} 不存在，排序未更改",
        "There is no model {id}, and the order was not changed",
    ),
    "provider_disabled": (
        "模型 {model} 的提供商“{provider}”已停用",
        "The provider {provider} of model {model} is disabled",
    ),
    "target_is_alias": (
        "{model} 本身是别名，不能作为目标",
        "{model} is an alias itself and cannot be a target",
    ),
    "target_of_other_type": (
        "目标 {model} 与第一个目标的模型类型不同",
        "The target {model} is of another type than the first target",
    ),
    "target_twice": ("目标 {model} 重复", "The target {model} stands twice in the list"),
    "unit_price_invalid": (
        "units 中 {key} 的价格应为 0 至 {most} 的数字",
        "The price of {key} in units must be a number from 0 to {most}",
    ),
    "unit_price_key_unknown": (
        "units 中的键 {key} 不能识别：应以 {units:or} 开头；图片可以再加尺寸和质量，如 image/1024x1024/high",
        "The key {key} in units is not known: it begins with {units:or}, for images with size and quality if "
        "wanted, such as image/1024x1024/high",
    ),
    "unit_prices_too_many": (
        "units 至多 {most} 个价格",
        "There can be {most} prices in units",
    ),
    "unknown_model": (
        "未知的模型 {model}，请选择其他模型或联系管理员",
        "There is no model {model}, please choose another or ask the administrator",
    ),
    "unknown_target": (
        "没有名为 {model} 的模型可以作为目标",
        "There is no model {model} that could be a target",
    ),
}
