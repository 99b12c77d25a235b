# SPDX-License-Identifier: Apache-2.0
"""Prompts, labels, layouts and the cleaning of text that every stage shares."""
import random
import re
import unicodedata

LABELS = {
    "sentiment": ["正面", "负面"],
    "emotion": ["开心", "生气", "难过", "害怕", "惊讶", "平静"],
    "intent": ["提问", "抱怨", "感谢", "请求", "分享", "闲聊"],
    "urgency": ["紧急", "普通", "不急"],
    "crisis": ["是", "否"],
}

# What opens the answer in the layouts `shared` and `probe` (tasks/*.yaml: `opening`).
OPENINGS = {"crisis": "危机：", "emotion": "情绪：", "intent": "意图：", "sentiment": "情感：", "urgency": "紧急："}


def analyst(rng=None):
    """The prompt of the layout `shared`, as src/tasks/prompt.c words it; with `rng` another wording."""
    first = "你是一个文本分析师。阅读用户这句话，按项目逐一判断，每个项目只从给出的选项里选一个，不要解释。"
    tasks = list(OPENINGS)
    if rng and rng.random() < 0.4:
        n = rng.randrange(12)
        first = ("你是一个文本分析助手，每个项目只用一个词回答。", "请分析用户的话，按下面的项目判断。", first)[n % 3]
        random.Random(n).shuffle(tasks)
    return "\n".join([first] + [OPENINGS[t] + " / ".join(LABELS[t]) for t in tasks])


# The first entry is canonical (tasks/*.yaml), the others are paraphrases.
PROMPTS = {
    "chat": [
        "你是一个温暖、有同理心的AI助手。请用自然、友好的语气回应用户。",
        "你是一个友善的聊天伙伴，请自然地和用户聊天。",
        "你是一个温柔体贴的助手，先理解对方的感受，再给出简短的回应。",
        "请用亲切、真诚的语气回复用户。",
        "你是一个有帮助的AI助手。",
    ],
    "sentiment": [
        "你是一个冷酷的情感分析师。你的任务是对用户的每句话进行情绪分类。只能输出两种结果：正面 / 负面。不要解释，不要废话，只输出类别。",
        "判断下面这句话的情感倾向，只回答：正面 / 负面。",
        "你是情感分类器，只输出正面或负面。",
        "这句话是正面还是负面？只输出类别。",
        "请对用户的评论做情感分析，答案只能是正面、负面之一。",
        "情感分析。只输出：正面 / 负面。",
        "用户的态度是好是坏？好输出正面，坏输出负面。",
        "你负责给评论打标签，标签只有两个：正面、负面。请只输出标签。",
    ],
    "emotion": [
        "你是一个情绪识别助手。判断用户这句话的情绪，只输出一个词：开心 / 生气 / 难过 / 害怕 / 惊讶 / 平静。",
        "用户是什么情绪？只能从开心、生气、难过、害怕、惊讶、平静中选一个。",
        "请给下面的话标注情绪：开心 / 生气 / 难过 / 害怕 / 惊讶 / 平静。",
        "情绪分类。只输出：开心 / 生气 / 难过 / 害怕 / 惊讶 / 平静。",
        "你是情绪分析师，用一个词说出用户的情绪（开心、生气、难过、害怕、惊讶、平静）。",
        "说话的人现在心情如何？答案只能是：开心 / 生气 / 难过 / 害怕 / 惊讶 / 平静。",
    ],
    "intent": [
        "你是一个意图识别助手。判断用户这句话的意图，只输出一个词：提问 / 抱怨 / 感谢 / 请求 / 分享 / 闲聊。",
        "用户说这句话是想做什么？只能从提问、抱怨、感谢、请求、分享、闲聊中选一个。",
        "请给下面的话标注意图：提问 / 抱怨 / 感谢 / 请求 / 分享 / 闲聊。",
        "意图分类。只输出：提问 / 抱怨 / 感谢 / 请求 / 分享 / 闲聊。",
        "你是意图分析师，用一个词说出用户的意图（提问、抱怨、感谢、请求、分享、闲聊）。",
        "这句话的目的是什么？答案只能是：提问 / 抱怨 / 感谢 / 请求 / 分享 / 闲聊。",
    ],
    "urgency": [
        "你是一个分诊助手。判断用户这句话的紧急程度，只输出一个词：紧急 / 普通 / 不急。",
        "这件事有多急？只能从紧急、普通、不急中选一个。",
        "请给下面的话标注紧急程度：紧急 / 普通 / 不急。",
        "紧急程度分类。只输出：紧急 / 普通 / 不急。",
        "用一个词说出用户的事情急不急（紧急、普通、不急）。",
        "这条消息要不要马上处理？答案只能是：紧急 / 普通 / 不急。",
    ],
    "crisis": [
        "你是一个安全值守员。判断用户这句话里是否有自伤、轻生或人身危险，只输出：是 / 否。",
        "用户是否处于危机之中（自伤、轻生、人身危险）？只回答是或否。",
        "危机识别。只输出：是 / 否。",
        "这句话需要马上进行危机干预吗？只回答：是 / 否。",
        "请检查下面的话有没有自伤、轻生或人身危险的信号，回答是或否。",
        "说话的人有没有生命危险？答案只能是：是 / 否。",
    ],
    "keywords": [
        "你是一个关键词提取助手。从用户的话里找出最重要的词，用、隔开，只输出关键词。",
        "提取关键词，用、隔开。",
        "请列出下面这段话的关键词，用、分隔，不要解释。",
    ],
    "summary": [
        "你是一个摘要助手。用一句话概括用户的话，不超过二十个字。",
        "请用一句话总结下面的内容。",
        "概括这段话的大意，一句话即可。",
    ],
    "to_classical": [
        "你是一个文言文助手。把用户的话改写成文言文，只输出改写结果。",
        "请把下面的现代文翻译成文言文。",
    ],
    "to_modern": [
        "你是一个文言文助手。把用户的文言文翻译成现代汉语，只输出译文。",
        "请把下面的文言文翻译成白话文。",
    ],
}

# Wordings that no example is trained with: they measure how robust the labels are.
UNSEEN_PROMPTS = {
    "sentiment": ["下面是一条用户评论。它总体上是正面还是负面？只回答一个词。",
                  "作为舆情分析员，请判断这句话的倾向：正面 / 负面。"],
    "emotion": ["读完这句话，你觉得说话人是什么情绪？从开心、生气、难过、害怕、惊讶、平静里挑一个词。",
                "作为舆情分析员，请判断这句话的情绪：开心 / 生气 / 难过 / 害怕 / 惊讶 / 平静。"],
}


def pick(wordings, rng, canonical=0.6):
    """The first wording with probability `canonical`, else one of the others."""
    return wordings[0] if rng.random() < canonical or len(wordings) == 1 else rng.choice(wordings[1:])


def choice_prompt(instructions, options):
    """System prompt of a free label set; options [{"value", "description"}]."""
    o = " / ".join(x["value"] + (f"（{x['description']}）" if x.get("description") else "") for x in options)
    return f"{instructions} 只输出一个选项：{o}。"


def clean(s):
    """NFC, no control characters, runs of blanks to one, stripped."""
    s = unicodedata.normalize("NFC", s).replace("\ufeff", "").replace("\u3000", " ")
    s = "".join(ch for ch in s if ch == "\n" or unicodedata.category(ch)[0] != "C")
    return re.sub(r"[ \t\r\u00a0]+", " ", s).strip()


def plain_weibo(s):
    """A micro-blog without mentions, links and topics."""
    return clean(re.sub(r"(//)?@[^\s：:]{1,20}[：:]?|http\S+|#[^#]{1,40}#", "", s))


def key(s):
    """What two texts are compared by: letters and digits only, lower case."""
    return "".join(ch for ch in unicodedata.normalize("NFKC", s).lower() if ch.isalnum())


def fullwidth(s):
    """ASCII punctuation after Chinese text to full width: answers use one style."""
    return re.sub(r"(?<=[\u4e00-\u9fff」”）])\s*([,?!:;])\s*", lambda m: "，？！：；"[",?!:;".index(m.group(1))], s)


def vary(s, rng):
    """The same text as another hand would type it: half-width or missing punctuation."""
    r = rng.random()
    if r < 0.5:
        return s
    if r < 0.7:
        return s.rstrip("。！？!?~～…") or s
    if r < 0.85:
        return s.translate(str.maketrans("，。！？：；", ",.!?:;"))
    return re.sub(r"[，。！]", " ", s).strip() or s
