#include "daemon/head/nodes/node_setting.h"

#include "tests/support/catch.h"

namespace node_setting_test {

using namespace rtrain;
using namespace rtrain::head;

TEST_CASE("node setting: what is written is read again") {
  NodeSetting setting;
  setting.cordoned = setting.draining = true;
  setting.reason = "new disk";
  setting.by = "ann";
  setting.since_ms = 5;
  setting.drain_until_ms = 7;
  setting.labels = {{"rack", "r1"}, {"old", std::nullopt}};
  setting.quarantined = {2, 3};
  setting.quarantine_reason = "pid 5 cannot be killed";
  setting.returned = {2};
  const auto again = node_setting_from_json(to_json(setting));
  REQUIRE(again.has_value());
  CHECK(to_json(*again) == to_json(setting));
  CHECK(again->labels == setting.labels);
  CHECK(again->gpus_out() == std::set{3});
  CHECK(again->words() == "drained by ann: new disk; GPU 3 is out of service: pid 5 cannot be killed");
}

TEST_CASE("node setting: a document of an older head is read, one that is damaged names the field") {
  CHECK(node_setting_from_json(proto::Json::object())->is_default());
  CHECK(node_setting_from_json({{"cordoned", true}, {"later", 1}})->cordoned);
  for (const auto& [json, field] : {std::pair<proto::Json, const char*>{{{"cordoned", 3}}, "cordoned"},
                                    {{{"labels", {{"a", 1}}}}, "labels"},
                                    {{{"quarantined", "x"}}, "quarantined"}}) {
    const auto read = node_setting_from_json(json);
    REQUIRE_FALSE(read.has_value());
    CHECK(read.error().message().find(field) == 0);
  }
  CHECK_FALSE(node_setting_from_json(proto::Json::array()).has_value());
}

TEST_CASE("node setting: labels lie over those of the agent") {
  NodeSetting setting;
  CHECK(setting.is_default());
  setting.labels = {{"rack", "r2"}, {"old", std::nullopt}, {"new", "x"}};
  CHECK_FALSE(setting.is_default());
  CHECK(setting.over({{"rack", "r1"}, {"old", "1"}, {"zone", "z"}}) ==
        std::map<std::string, std::string>{{"rack", "r2"}, {"new", "x"}, {"zone", "z"}});
}

}  // namespace node_setting_test
