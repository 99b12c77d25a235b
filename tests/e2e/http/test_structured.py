"""response_format as the openai package sends it: what comes back parses and satisfies the schema, whatever the model would like to say."""
import enum
import json
import unittest
from typing import Literal

import openai
from pydantic import BaseModel, ConfigDict, Field

from program import Program

SAD = "今天考试没考好,心情很低落。"


class Feeling(enum.Enum):
    glad = "开心"
    sad = "难过"
    angry = "生气"


class Cause(BaseModel):
    model_config = ConfigDict(extra="forbid")
    what: str = Field(max_length=8)
    certain: bool


class Mood(BaseModel):
    model_config = ConfigDict(extra="forbid")
    feeling: Feeling
    strength: int = Field(ge=1, le=5)
    causes: list[Cause] = Field(min_length=1, max_length=2)
    note: str | None


class Praise(BaseModel):
    kind: Literal["praise"]
    stars: int = Field(ge=1, le=5)


class Complaint(BaseModel):
    kind: Literal["complaint"]
    reason: str = Field(pattern="^[a-z]*$", max_length=8)


class Report(BaseModel):
    what: Praise | Complaint = Field(discriminator="kind")
    where: tuple[int, bool]
    share: int = Field(multiple_of=5, ge=0, le=100)


def schema_format(schema):
    return {"type": "json_schema", "json_schema": {"name": "test", "schema": schema, "strict": True}}


class Structured(Program):
    def chat(self, **options):
        options.setdefault("max_tokens", 300)
        return self.client.chat.completions.create(model=self.model, messages=[{"role": "user", "content": SAD}], **options)

    def test_a_pydantic_model_comes_back_filled(self):
        n_filled = 0
        for seed in range(8):
            try:
                answer = self.client.chat.completions.parse(model=self.model, messages=[{"role": "user", "content": SAD}], response_format=Mood,
                                                            temperature=1.5, seed=seed, max_tokens=400)
            except openai.LengthFinishReasonError:  # the model may talk without end inside a string
                continue
            mood = answer.choices[0].message.parsed
            self.assertIsInstance(mood, Mood)
            self.assertTrue(1 <= mood.strength <= 5 and 1 <= len(mood.causes) <= 2)
            n_filled += 1
        self.assertGreater(n_filled, 0)

    def test_one_of_a_few_values(self):
        for temperature in (0, 2):
            text = self.chat(temperature=temperature, seed=1, response_format=schema_format({"enum": ["正面", "负面"]})).choices[0].message.content
            self.assertIn(json.loads(text), ("正面", "负面"))

    def test_any_object(self):
        for seed in range(3):
            answer = self.chat(temperature=1, seed=seed, response_format={"type": "json_object"}).choices[0]
            if answer.finish_reason == "stop":
                self.assertIsInstance(json.loads(answer.message.content), dict)

    def test_a_stream_says_the_same(self):
        form = schema_format(Mood.model_json_schema())
        whole = self.chat(temperature=0, response_format=form).choices[0].message.content
        chunks = self.chat(temperature=0, response_format=form, stream=True)
        self.assertEqual("".join(c.choices[0].delta.content or "" for c in chunks), whole)
        self.assertEqual(self.chat(temperature=0, response_format=form).choices[0].message.content, whole)

    def test_what_max_tokens_cuts_says_length(self):
        form = schema_format({"type": "array", "minItems": 50, "items": {"type": "integer"}})
        choice = self.chat(max_tokens=10, response_format=form).choices[0]
        self.assertEqual(choice.finish_reason, "length")
        self.assertTrue(choice.message.content.startswith("["))

    def test_log_probabilities_are_the_models_own(self):
        choice = self.chat(temperature=0, logprobs=True, top_logprobs=2, response_format=schema_format({"enum": ["正面", "负面"]})).choices[0]
        self.assertEqual("".join(t.token for t in choice.logprobs.content).encode(), choice.message.content.encode())
        self.assertTrue(all(t.logprob <= 0 for t in choice.logprobs.content))

    def test_a_biased_token_comes_always_or_never(self):
        def first(**options):
            return self.chat(temperature=0, max_tokens=1, logprobs=True, **options).choices[0].message.content

        favourite = first()
        ids = range(300, 330)
        self.assertNotEqual(first(logit_bias={str(i): 100 for i in ids}), favourite)
        self.assertEqual(first(logit_bias={str(i): -100 for i in ids}), favourite)
        with self.assertRaises(openai.BadRequestError) as caught:
            first(logit_bias={"999999999": 1})
        self.assertIn("vocabulary", str(caught.exception))

    def test_a_raw_completion_has_it_too(self):
        answer = self.client.completions.create(model=self.model, prompt="情绪：", max_tokens=20,
                                                extra_body={"response_format": schema_format({"type": "boolean"})})
        self.assertIn(answer.choices[0].text, ("true", "false"))

    def test_a_schema_that_cannot_be_honoured_is_refused_by_name(self):
        for schema, words in (
            ({"type": "object", "properties": {"a": {"type": "integer", "multipleOf": 0.3}}}, ("#/properties/a", "multipleOf")),
            ({"oneOf": [{"type": "string"}, {"const": "a"}]}, ("oneOf", "together")),
            ({"type": "array", "uniqueItems": True}, ("uniqueItems",)),
            ({"$ref": "#/$defs/x"}, ("$ref",)),
            ({"type": "string", "pattern": "(?<a>b)"}, ("pattern", "byte")),
        ):
            with self.assertRaises(openai.BadRequestError) as caught:
                self.chat(response_format=schema_format(schema))
            self.assertEqual(caught.exception.param, "response_format")
            for word in words:
                self.assertIn(word, str(caught.exception))


del Program
if __name__ == "__main__":
    unittest.main(verbosity=2, warnings="ignore")
