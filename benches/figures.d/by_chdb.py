"""The orders by chdb (ClickHouse in the process): the gzipped lines into the table `orders`, columns as the engine makes them.

    by_chdb.py EXPORT PORT

As it comes: max_insert_threads makes no difference, its table function `mysql` writes over one connection.
"""

import sys

import chdb

export, port = sys.argv[1], sys.argv[2]
ITEM = """Item Tuple(
    customer_id Tuple(S String), order_id Tuple(S String), status Tuple(S String), total Tuple(N String),
    quantity Tuple(N String), created_at Tuple(S String), gift Tuple(BOOL Bool), tags Tuple(SS Array(String)),
    address Tuple(M Tuple(street Tuple(S String), zip Tuple(S String), geo Tuple(L Array(Tuple(N String))))))"""

chdb.query(
    f"""
    INSERT INTO FUNCTION mysql('127.0.0.1:{port}', 'shop', 'orders', 'root', '')
        (customer_id, order_id, status, total, quantity, created_at, gift, tags, address)
    SELECT
        Item.customer_id.S,
        Item.order_id.S,
        Item.status.S,
        toDecimal64(Item.total.N, 2),
        toInt32(Item.quantity.N),
        replaceOne(replaceOne(Item.created_at.S, 'T', ' '), 'Z', ''),
        toUInt8(Item.gift.BOOL),
        toJSONString(arraySort(Item.tags.SS)),
        concat('{{"street":', toJSONString(Item.address.M.street.S), ',"zip":', toJSONString(Item.address.M.zip.S),
            ',"geo":', toJSONString(arrayMap(part -> part.N, Item.address.M.geo.L)), '}}')
    FROM file('{export}/AWSDynamoDB/*/data/*.json.gz', 'JSONEachRow', '{ITEM}')
    """
)
