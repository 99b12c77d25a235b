"""/v1/decisions as the openai package sees it, /v1/systemone raw; the real program with its embedded model."""
import concurrent.futures
import unittest

import openai

from program import Program

ANGRY = "快递又丢了，气死我了，再也不买了！"
MOODS = ["开心", "生气", "难过"]


def choice(*values, instructions="判断用户这句话的情绪", **more):
    return {"type": "choice", "instructions": instructions, "choices": [{"value": v} for v in values], **more}


def confidence(probabilities):
    n = len(probabilities)
    return (n * max(probabilities) - 1) / (n - 1)


class Decisions(Program):
    def decide(self, *questions, text=ANGRY, **more):
        return self.client.decisions.create(model=self.model, input=text, questions=list(questions), **more)

    def test_all_three_kinds_are_answered_in_order_with_their_names(self):
        levels = [{"label": "不急"}, {"label": "普通", "description": "今天"}, {"label": "紧急"}]
        decision = self.decide(
            {"type": "predicate", "instructions": "用户在生气", "name": "angry"},
            choice(*MOODS),
            {"type": "score", "instructions": "有多紧急", "levels": levels, "name": "urgency"},
            prompt_cache_key="k",
            safety_identifier="me",
        )
        self.assertEqual(decision.model, self.model)
        self.assertEqual([a.type for a in decision.answers], ["predicate", "choice", "score"])
        self.assertEqual([a.name for a in decision.answers], ["angry", None, "urgency"])
        self.assertIn("name", decision.answers[1].model_fields_set)
        predicate, mood, urgency = decision.answers
        self.assertTrue(0 <= predicate.probability <= 1)
        self.assertEqual(mood.choice, "生气")
        self.assertEqual([p.value for p in mood.probabilities], MOODS)
        self.assertAlmostEqual(sum(p.probability for p in mood.probabilities), 1, places=9)
        self.assertAlmostEqual(mood.confidence, confidence([p.probability for p in mood.probabilities]), places=9)
        self.assertEqual([(p.label, p.value) for p in urgency.probabilities], [("不急", 0), ("普通", 1), ("紧急", 2)])
        self.assertAlmostEqual(urgency.score, sum(p.value * p.probability for p in urgency.probabilities), places=9)

    def test_booleans_stay_booleans_and_differ_from_words(self):
        answer = self.decide(choice(True, False, "true", instructions="Is the customer angry?")).answers[0]
        self.assertEqual([p.value for p in answer.probabilities], [True, False, "true"])
        self.assertIsInstance(answer.probabilities[0].value, bool)
        self.assertIsInstance(answer.probabilities[2].value, str)

    def test_the_order_of_options_changes_nothing(self):
        given, turned = self.decide(choice(*MOODS), choice(*reversed(MOODS))).answers
        for a, b in zip(given.probabilities, reversed(turned.probabilities)):
            self.assertEqual(a.probability, b.probability)

    def test_usage_counts_the_tokens_of_all_orders(self):
        one = self.decide(choice(*MOODS)).usage
        two = self.decide(choice(*MOODS), choice(*MOODS)).usage
        self.assertEqual(two.input_tokens, 2 * one.input_tokens)
        self.assertGreater(one.input_tokens, len(MOODS) * (len(ANGRY) // 2))  # the text is read once an order
        for usage in (one, two):
            self.assertGreater(usage.input_tokens, usage.input_tokens_details.cached_tokens)
            self.assertEqual(usage.total_tokens, usage.input_tokens + usage.output_tokens)
            self.assertEqual((usage.output_tokens, usage.output_tokens_details.reasoning_tokens), (0, 0))
            self.assertEqual(usage.input_tokens_details.cache_write_tokens, 0)

    def test_messages_and_parts_are_read(self):
        conversation = [
            {"role": "system", "content": "客服对话"},
            {"role": "user", "content": [{"type": "input_text", "text": ANGRY}, {"type": "input_json", "data": {"订单": 7}}]},
            {"role": "assistant", "content": [{"type": "output_text", "text": "抱歉"}, {"type": "refusal", "refusal": "不行"}]},
        ]
        self.assertEqual(len(self.decide(choice(*MOODS), text=conversation).answers), 1)
        alone = self.decide(choice(*MOODS), text=[{"role": "user", "content": ANGRY}])
        self.assertEqual(alone.answers, self.decide(choice(*MOODS)).answers)

    def test_400_questions_are_answered_while_others_ask(self):
        questions = [choice("是", "否", instructions=f"第{i}个问题", name=str(i)) for i in range(400)]
        with concurrent.futures.ThreadPoolExecutor(4) as pool:
            others = [pool.submit(self.decide, choice(*MOODS)) for _ in range(8)]
            decision = self.decide(*questions, text="好")
            self.assertEqual([a.name for a in decision.answers], [str(i) for i in range(400)])
            self.assertEqual({o.result().answers[0].choice for o in others}, {"生气"})

    def refused(self, code, param, *questions, error=openai.BadRequestError, **more):
        with self.assertRaises(error) as caught:
            self.client.decisions.create(**{"model": self.model, "input": ANGRY, "questions": list(questions), **more})
        self.assertEqual((caught.exception.code, caught.exception.param), (code, param))
        return caught.exception

    def test_what_cannot_be_answered_is_refused(self):
        good = choice(*MOODS)
        self.refused("invalid_value", "questions")
        self.refused("invalid_value", "questions", *[good] * 401)
        self.refused("invalid_value", "questions[1].choices", good, choice("a"))
        self.refused("invalid_value", "questions[0].choices", choice("a", "a"))
        self.refused("invalid_value", "questions[0].type", {"type": "essay", "instructions": "?"})
        self.refused("missing", "input", good, input=" \n")
        self.refused("context_length_exceeded", "input", good, input=ANGRY * 500)
        self.refused("model_not_found", "model", good, model="gpt-6-luna", error=openai.NotFoundError)
        image = {"type": "input_image", "image_url": "data:image/png;base64,AAAA"}
        self.assertIn("images", str(self.refused("unsupported", "input[0]", good, input=[{"role": "user", "content": [image]}])))
        call = {"type": "function_call", "call_id": "1", "name": "f", "arguments": "{}"}
        self.assertIn("tool calls", str(self.refused("unsupported", "input[0]", good, input=[call])))
        self.assertEqual(self.decide(good).answers[0].choice, "生气")


class SystemOne(Program):
    def ask(self, questions, state=ANGRY, **more):
        return self.server.post("/v1/systemone", {"state": state, "questions": questions, **more})

    def test_all_three_kinds_are_answered_by_id(self):
        status, answer = self.ask(
            {
                "z": {"type": "noul", "instructions": "用户在生气", "criteria": {"true": "骂人", "false": None}},
                "mood": {"type": "choice", "instructions": "判断用户这句话的情绪", "criteria": {"开心": None, "生气": "发火", "难过": None}},
                "a": {"type": "score", "instructions": "有多紧急", "criteria": ["不急", "普通", "紧急"]},
            },
            model=self.model,
        )
        self.assertEqual(status, 200, answer)
        self.assertEqual(answer["model"], self.model)
        self.assertEqual(list(answer["answers"]), ["z", "mood", "a"])
        noul, mood, score = answer["answers"].values()
        self.assertEqual(sorted(noul), ["noul", "type"])
        self.assertTrue(0 <= noul["noul"] <= 1)
        self.assertEqual((mood["type"], mood["choice"], list(mood["probabilities"])), ("choice", "生气", MOODS))
        self.assertAlmostEqual(mood["confidence"], confidence(mood["probabilities"].values()), places=9)
        self.assertEqual(score["legend"], {"0": "不急", "1": "普通", "2": "紧急"})
        self.assertAlmostEqual(score["score"], sum(int(k) * p for k, p in score["probabilities"].items()), places=9)
        self.assertEqual(answer["usage"]["total_tokens"], answer["usage"]["input_tokens"])

    def test_diagnostics_add_the_mass_of_the_options_and_change_nothing_else(self):
        question = {"q": {"type": "choice", "instructions": "判断情绪", "criteria": {"正面": None, "负面": None}}}
        plain, diagnosed = (self.ask(question, ANGRY, **more)[1]["answers"]["q"] for more in ({}, {"diagnostics": True}))
        self.assertTrue(0 < diagnosed.pop("label_mass") <= 1)
        self.assertEqual(plain, diagnosed)

    def test_a_state_may_be_json(self):
        question = {"q": {"type": "choice", "instructions": {"ask": "情绪"}, "criteria": {"开心": None, "生气": None}}}
        for state in ({"text": ANGRY}, [ANGRY, 1, None]):
            self.assertEqual(self.ask(question, state)[0], 200)

    def test_what_cannot_be_answered_is_refused(self):
        noul = {"type": "noul", "instructions": "?"}
        cases = [
            ("questions", "invalid_value", {}, {}),
            ("state", "missing", {"q": noul}, {"state": ""}),
            ("state", "invalid_type", {"q": noul}, {"state": 5}),
            ("diagnostics", "invalid_type", {"q": noul}, {"diagnostics": "yes"}),
            ("questions.q", "invalid_value", {"q": {"type": "bool", "instructions": "?"}}, {}),
            ("questions.q.criteria", "missing", {"q": {"type": "score", "instructions": "?"}}, {}),
        ]
        for param, code, questions, more in cases:
            with self.subTest(param=param, code=code):
                status, answer = self.ask(questions, **more)
                self.assertEqual((status, answer["error"]["param"], answer["error"]["code"]), (400, param, code))
        self.assertEqual(self.server.request("GET", "/v1/systemone")[0], 405)
        self.assertTrue(self.server.is_alive())


if __name__ == "__main__":
    unittest.main()
