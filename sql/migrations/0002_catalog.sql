-- The providers and a handful of models that a fresh start shows. Prices are the providers' public list
-- prices of late 2025 in US dollars (millionths per 1,000 tokens); an administrator keeps them current.

INSERT INTO providers (provider_key, display_name, default_base_url, needs_key, sort_order, created_at, updated_at)
SELECT column1, column2, column3, column4, column5, strftime('%s', 'now') * 1000, strftime('%s', 'now') * 1000 FROM (VALUES
    ('openai', 'OpenAI', 'https://api.openai.com/v1', 1, 0),
    ('anthropic', 'Anthropic', 'https://api.anthropic.com/v1', 1, 1),
    ('google', 'Google Gemini', 'https://generativelanguage.googleapis.com/v1beta', 1, 2),
    ('siliconflow', '硅基流动', 'https://api.siliconflow.cn/v1', 1, 3),
    ('deepseek', 'DeepSeek', 'https://api.deepseek.com/v1', 1, 4),
    ('moonshot', '月之暗面 Kimi', 'https://api.moonshot.cn/v1', 1, 5),
    ('zhipu', '智谱 GLM', 'https://open.bigmodel.cn/api/paas/v4', 1, 6),
    ('alibaba', '阿里云百炼', 'https://dashscope.aliyuncs.com/compatible-mode/v1', 1, 7),
    ('baidu', '百度千帆', 'https://qianfan.baidubce.com/v2', 1, 8),
    ('doubao', '火山方舟 豆包', 'https://ark.cn-beijing.volces.com/api/v3', 1, 9),
    ('openrouter', 'OpenRouter', 'https://openrouter.ai/api/v1', 1, 10),
    ('groq', 'Groq', 'https://api.groq.com/openai/v1', 1, 11),
    ('mistral', 'Mistral', 'https://api.mistral.ai/v1', 1, 12),
    ('xai', 'xAI', 'https://api.x.ai/v1', 1, 13),
    ('ollama', 'Ollama', 'http://localhost:11434/v1', 0, 14)
);

INSERT INTO models (model_name, display_name, provider_id, max_tokens, context_window,
    supports_function_calling, supports_vision, input_price, output_price, description, sort_order,
    created_at, updated_at)
SELECT column1, column2, providers.id, column4, column5, column6, column7, column8, column9, column10, column11,
    strftime('%s', 'now') * 1000, strftime('%s', 'now') * 1000
FROM (VALUES
    ('gpt-4o-mini', 'GPT-4o mini', 'openai', 16384, 128000, 1, 1, 150, 600, 'OpenAI 轻量多模态模型', 1),
    ('gpt-4.1', 'GPT-4.1', 'openai', 32768, 1047576, 1, 1, 2000, 8000, 'OpenAI 长上下文模型', 2),
    ('gpt-5', 'GPT-5', 'openai', 128000, 400000, 1, 1, 1250, 10000, 'OpenAI 推理模型', 3),
    ('claude-sonnet-4-5', 'Claude Sonnet 4.5', 'anthropic', 64000, 200000, 1, 1, 3000, 15000, 'Anthropic 通用模型', 4),
    ('claude-haiku-4-5', 'Claude Haiku 4.5', 'anthropic', 64000, 200000, 1, 1, 1000, 5000, 'Anthropic 快速模型', 5),
    ('gemini-2.5-pro', 'Gemini 2.5 Pro', 'google', 65536, 1048576, 1, 1, 1250, 10000, 'Google 推理模型', 6),
    ('gemini-2.5-flash', 'Gemini 2.5 Flash', 'google', 65536, 1048576, 1, 1, 300, 2500, 'Google 快速模型', 7),
    ('Qwen/Qwen2.5-72B-Instruct', 'Qwen2.5-72B', 'siliconflow', 4096, 32768, 1, 0, 590, 590, '硅基流动托管的通义千问 2.5', 8),
    ('Qwen/QwQ-32B', 'QwQ-32B', 'siliconflow', 32768, 131072, 1, 0, 150, 580, '硅基流动托管的通义千问推理模型', 9),
    ('deepseek-ai/DeepSeek-V3', 'DeepSeek-V3', 'siliconflow', 8192, 65536, 1, 0, 250, 1000, '硅基流动托管的 DeepSeek-V3', 10),
    ('deepseek-ai/DeepSeek-R1', 'DeepSeek-R1', 'siliconflow', 16384, 98304, 0, 0, 500, 2180, '硅基流动托管的 DeepSeek-R1', 11),
    ('deepseek-chat', 'DeepSeek Chat', 'deepseek', 8192, 131072, 1, 0, 280, 420, 'DeepSeek 通用模型', 12),
    ('deepseek-reasoner', 'DeepSeek Reasoner', 'deepseek', 65536, 131072, 1, 0, 280, 420, 'DeepSeek 推理模型', 13),
    ('kimi-k2-turbo-preview', 'Kimi K2 Turbo', 'moonshot', 32768, 262144, 1, 0, 1150, 8000, '月之暗面 Kimi K2', 14),
    ('moonshot-v1-32k', 'Moonshot v1 32K', 'moonshot', 8192, 32768, 1, 0, 1000, 3000, '月之暗面 32K 上下文模型', 15),
    ('glm-4.6', 'GLM-4.6', 'zhipu', 131072, 204800, 1, 0, 600, 2200, '智谱旗舰模型', 16),
    ('glm-4.5-air', 'GLM-4.5 Air', 'zhipu', 98304, 131072, 1, 0, 200, 1100, '智谱轻量模型', 17),
    ('qwen-max', 'Qwen Max', 'alibaba', 8192, 32768, 1, 0, 1600, 6400, '通义千问旗舰模型', 18),
    ('qwen-plus', 'Qwen Plus', 'alibaba', 32768, 131072, 1, 0, 400, 1200, '通义千问均衡模型', 19),
    ('ernie-4.5-turbo-128k', 'ERNIE 4.5 Turbo', 'baidu', 12288, 131072, 1, 0, 110, 450, '百度文心 4.5', 20),
    ('doubao-seed-1-6-250615', '豆包 Seed 1.6', 'doubao', 32768, 262144, 1, 1, 110, 1120, '火山方舟豆包模型', 21)
) JOIN providers ON providers.provider_key = column3;
