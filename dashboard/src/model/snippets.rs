//! The first message from a device, in several languages, filled in with this hub's name. No secret is ever in them: the connection string
//! stays in the environment.

use crate::routes::segment;

/// Whether it can be a device's id. A link may name anything, and what people copy from here and run says nothing but what they read. One that
/// begins as an option does is for those who know what they do.
#[must_use]
pub fn is_device_id(id: &str) -> bool {
    let allowed = |letter: u8| letter.is_ascii_alphanumeric() || b"-.+%_#*?!(),:;=@$'".contains(&letter);
    (1..=128).contains(&id.len()) && !id.starts_with('-') && id.bytes().all(allowed)
}

/// A word that a shell takes as it is: in single quotes, where it has anything that means something to a shell.
#[must_use]
pub fn shell(word: &str) -> String {
    let plain = |letter: u8| letter.is_ascii_alphanumeric() || b"-._:@,+%".contains(&letter);
    if !word.is_empty() && word.bytes().all(plain) { word.to_owned() } else { format!("'{}'", inside_quotes(word)) }
}

fn inside_quotes(word: &str) -> String {
    word.replace('\'', r"'\''")
}

/// One way to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Language {
    /// azure-iot-device for Python.
    Python,
    /// azure-iot-device for Node.js.
    Node,
    /// iot-device-client for Java.
    Java,
    /// Microsoft.Azure.Devices.Client.
    CSharp,
    /// mosquitto's clients.
    Mosquitto,
    /// HTTPS by hand.
    Curl,
}

impl Language {
    /// Every one.
    pub const ALL: [Self; 6] = [Self::Python, Self::Node, Self::Java, Self::CSharp, Self::Mosquitto, Self::Curl];

    /// For people.
    #[must_use]
    pub fn word(self) -> &'static str {
        match self {
            Self::Python => "Python",
            Self::Node => "Node.js",
            Self::Java => "Java",
            Self::CSharp => "C#",
            Self::Mosquitto => "mosquitto",
            Self::Curl => "curl",
        }
    }

    /// In addresses.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Python => "python",
            Self::Node => "node",
            Self::Java => "java",
            Self::CSharp => "csharp",
            Self::Mosquitto => "mosquitto",
            Self::Curl => "curl",
        }
    }

    /// The one of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|language| language.name() == name)
    }

    /// What to install first.
    #[must_use]
    pub fn install(self) -> &'static str {
        match self {
            Self::Python => "pip install azure-iot-device",
            Self::Node => "npm install azure-iot-device azure-iot-device-mqtt",
            Self::Java => "com.microsoft.azure.sdk.iot:iot-device-client:2.5.0",
            Self::CSharp => "dotnet add package Microsoft.Azure.Devices.Client",
            Self::Mosquitto => "apt-get install mosquitto-clients",
            Self::Curl => "nothing: it is there",
        }
    }

    /// How the program is told to trust the hub's authority.
    #[must_use]
    pub fn trust(self) -> &'static str {
        match self {
            Self::Python => "export SSL_CERT_FILE=$PWD/ca.pem",
            Self::Node => "export NODE_EXTRA_CA_CERTS=$PWD/ca.pem",
            Self::Java => {
                "keytool -importcert -noprompt -alias hub -file ca.pem -keystore hub.jks -storepass changeit\nexport JAVA_TOOL_OPTIONS=-Djavax.net.ssl.trustStore=$PWD/hub.jks"
            }
            Self::CSharp => "export SSL_CERT_FILE=$PWD/ca.pem",
            Self::Mosquitto | Self::Curl => "# it is named below",
        }
    }

    /// The program.
    #[must_use]
    pub fn program(self, host: &str, device: &str) -> String {
        let template = match self {
            Self::Python => PYTHON,
            Self::Node => NODE,
            Self::Java => JAVA,
            Self::CSharp => CSHARP,
            Self::Mosquitto => MOSQUITTO,
            Self::Curl => CURL,
        };
        // Those two are for a shell, and have it in single quotes.
        let quoted = if matches!(self, Self::Mosquitto | Self::Curl) { inside_quotes(device) } else { device.to_owned() };
        template.replace("{host}", host).replace("{device}", &quoted).replace("{path}", &segment(device))
    }
}

const PYTHON: &str = r#"import os
from azure.iot.device import IoTHubDeviceClient, Message

# HostName={host};DeviceId={device};SharedAccessKey=…
client = IoTHubDeviceClient.create_from_connection_string(os.environ["DEVICE_CONNECTION_STRING"])
client.on_message_received = lambda command: print(command.data)
client.connect()
client.send_message(Message('{"temperature": 21.5}'))
input("Sent. Commands are printed; Enter ends. ")
client.shutdown()
"#;

const NODE: &str = r#"const { Client, Message } = require('azure-iot-device');
const { Mqtt } = require('azure-iot-device-mqtt');

// HostName={host};DeviceId={device};SharedAccessKey=…
const client = Client.fromConnectionString(process.env.DEVICE_CONNECTION_STRING, Mqtt);
client.on('message', (command) => client.complete(command, () => console.log(command.getData().toString())));
client.open()
  .then(() => client.sendEvent(new Message('{"temperature": 21.5}')))
  .then(() => console.log('Sent. Commands are printed; Ctrl-C ends.'));
"#;

const JAVA: &str = r#"import com.microsoft.azure.sdk.iot.device.*;

public class First {
  public static void main(String[] args) throws Exception {
    // HostName={host};DeviceId={device};SharedAccessKey=…
    // This SDK wants a host name with a dot in it.
    DeviceClient client = new DeviceClient(System.getenv("DEVICE_CONNECTION_STRING"), IotHubClientProtocol.MQTT);
    client.setMessageCallback((command, context) -> {
      System.out.println(new String(command.getBytes()));
      return IotHubMessageResult.COMPLETE;
    }, null);
    client.open(true);
    client.sendEvent(new Message("{\"temperature\": 21.5}"));
    System.in.read();
    client.close();
  }
}
"#;

const CSHARP: &str = r#"using System.Text;
using Microsoft.Azure.Devices.Client;

// HostName={host};DeviceId={device};SharedAccessKey=…
var text = Environment.GetEnvironmentVariable("DEVICE_CONNECTION_STRING");
await using var client = DeviceClient.CreateFromConnectionString(text, TransportType.Mqtt);
await client.SetReceiveMessageHandlerAsync(async (command, _) =>
{
    Console.WriteLine(Encoding.UTF8.GetString(command.GetBytes()));
    await client.CompleteAsync(command);
}, null);
await client.SendEventAsync(new Message(Encoding.UTF8.GetBytes("{\"temperature\": 21.5}")));
Console.ReadLine();
"#;

const MOSQUITTO: &str = r#"# A token for an hour, signed with the device's key, which is the last part of its connection string.
key=${DEVICE_CONNECTION_STRING##*SharedAccessKey=}
resource=$(printf '%s' '{host}/devices/{device}' | sed 's/%/%25/g; s,/,%2F,g')
expiry=$(($(date +%s) + 3600))
secret=$(printf '%s' "$key" | openssl base64 -d -A | od -An -tx1 -v | tr -d ' \n')
signature=$(printf '%s\n%s' "$resource" "$expiry" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$secret" -binary | openssl base64 -A | sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g')
token="SharedAccessSignature sr=$resource&sig=$signature&se=$expiry"

mosquitto_pub -h '{host}' -p 8883 --cafile ca.pem -V mqttv311 -q 1 -i '{device}' \
  -u '{host}/{device}/?api-version=2021-04-12' -P "$token" \
  -t 'devices/{device}/messages/events/' -m '{"temperature": 21.5}'
"#;

const CURL: &str = r#"# A token for an hour, signed with the device's key, which is the last part of its connection string.
key=${DEVICE_CONNECTION_STRING##*SharedAccessKey=}
resource=$(printf '%s' '{host}/devices/{device}' | sed 's/%/%25/g; s,/,%2F,g')
expiry=$(($(date +%s) + 3600))
secret=$(printf '%s' "$key" | openssl base64 -d -A | od -An -tx1 -v | tr -d ' \n')
signature=$(printf '%s\n%s' "$resource" "$expiry" | openssl dgst -sha256 -mac HMAC -macopt "hexkey:$secret" -binary | openssl base64 -A | sed 's/+/%2B/g; s,/,%2F,g; s/=/%3D/g')

curl --cacert ca.pem -H "Authorization: SharedAccessSignature sr=$resource&sig=$signature&se=$expiry" \
  --data-binary '{"temperature": 21.5}' \
  'https://{host}/devices/{path}/messages/events?api-version=2021-04-12'
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_id_runs_anything() {
        for (id, word) in
            [("pump-1", "pump-1"), ("meter:ams.04_127@eu", "meter:ams.04_127@eu"), ("$(reboot)", "'$(reboot)'"), ("a;b", "'a;b'")]
        {
            assert_eq!((is_device_id(id), shell(id).as_str()), (true, word));
        }
        assert_eq!(
            (shell("a'b"), shell("#"), shell("a!b*"), shell("")),
            (r"'a'\''b'".to_owned(), "'#'".into(), "'a!b*'".into(), "''".into())
        );
        for id in ["", "a b", "a\"b", "-rf", "a\u{202e}b", "a\nb", "a`b`", "a|b", "a>b", &"a".repeat(129)] {
            assert!(!is_device_id(id), "{id}");
        }
        let program = Language::Curl.program("hub", "a'#b");
        assert!(program.contains(r"'hub/devices/a'\''#b'") && program.contains("/devices/a%27%23b/messages"), "{program}");
        assert!(Language::Mosquitto.program("hub", "a'b").contains(r"-i 'a'\''b'"));
    }

    #[test]
    fn every_place_is_filled() {
        for language in Language::ALL {
            let program = language.program("hub.example", "pump-1");
            assert!(program.contains("hub.example") && program.contains("pump-1"), "{program}");
            assert!(!["{host}", "{device}", "{path}"].iter().any(|place| program.contains(place)), "{program}");
            assert_eq!(Language::named(language.name()), Some(language));
        }
    }
}
